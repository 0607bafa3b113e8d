"""Sweep files: variants x seeds of one configuration. docs/training.md has an example."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import yaml

from gcvideo.errors import UsageError
from gcvideo.yaml_keys import doubled_key
from gcvideo.yaml_text import load_yaml

REQUIRED = ("name", "config", "variants", "baseline", "seeds")


class Run(NamedTuple):
    """One training and test of a sweep."""

    variant: str
    seed: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """The content of a sweep file.

    Args:
        name: folder of the sweep in `runs_dir`.
        config: configuration file, or several of which later ones win; paths as for `--config`.
        variants: name -> settings that differ, such as {model.blocks: gc5}.
        baseline: the variant that the others are compared with.
        seeds: values of `seed_everything`; a verdict on one variant takes at least 6, on five variants 8.
        settings: for all variants.
        metric: key of report.json whose values are compared.
        threshold: metric from which a seed counts as passed, where runs either learn their task or get stuck.
        runs_dir: folder of all runs.
        trusted: packages whose code the files may name, separated by commas; from the command line, not from a file.

    Raises:
        UsageError: the baseline is not a variant, the seeds are not different integers, the threshold is not a number,
            or the settings say what is trusted.
    """

    name: str
    config: str | list[str]
    variants: dict[str, dict[str, Any]]
    baseline: str
    seeds: list[int]
    settings: dict[str, Any] = field(default_factory=dict)
    metric: str = "video_top1"
    threshold: float | None = None
    runs_dir: str = "runs"
    trusted: str = ""

    def __post_init__(self) -> None:
        if self.baseline not in self.variants:
            raise UsageError(f"expected one of {', '.join(self.variants)} as baseline, got {self.baseline!r}")
        # type() and not isinstance, because True is an int.
        are_integers = isinstance(self.seeds, list) and all(type(seed) is int for seed in self.seeds)
        if not are_integers or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"expected a list of different integers as seeds, got {self.seeds}")
        if type(self.threshold) not in (int, float, NoneType):
            raise UsageError(f"expected a number or null as threshold, got {self.threshold!r}")

        for settings in (self.settings, *self.variants.values()):
            if "trust" in settings:
                raise UsageError("a sweep file can't say which code is trusted: pass --trust to gcvideo sweep")

    @property
    def folder(self) -> Path:
        """Folder of the tables and of all runs."""
        return Path(self.runs_dir) / self.name

    @property
    def configs(self) -> list[str]:
        """Configuration files; later ones win."""
        return [self.config] if isinstance(self.config, str) else self.config

    @property
    def runs(self) -> list[Run]:
        """All runs. Every variant is run with one seed before the next seed, so that a stopped sweep compares."""
        return [Run(variant, seed) for seed in self.seeds for variant in self.variants]

    def run_folder(self, run: Run) -> Path:
        """Folder of one run."""
        return self.folder / f"{run.variant}-seed{run.seed}"

    def arguments(self, run: Run) -> list[str]:
        """Command-line options of one run; those of its variant come last and win."""
        options = [f"--config={config}" for config in self.configs]
        options.append(f"--name={self.run_folder(run).name}")
        options.append(f"--runs_dir={self.folder}")
        options.append(f"--seed_everything={run.seed}")
        options.append(f"--trust={self.trusted}")  # also if it is empty: what follows is not typed by the user
        # JSON is YAML, which the command line reads: lists, null and booleans arrive as what they are.
        for key, value in {**self.settings, **self.variants[run.variant]}.items():
            options.append(f"--{key}={value if isinstance(value, str) else json.dumps(value)}")
        return options

    def config_settings(self) -> list[str]:
        """Every setting of the configuration files as "FILE: GROUP.NAME=VALUE", so that a changed file is noticed.

        Raises:
            UsageError: a file can't be read.
        """
        lines = []
        for config in self.configs:
            content = _read_yaml(config, f"config {config}") or {}
            for group, settings in content.items():
                by_name = settings if isinstance(settings, dict) else {"": settings}
                lines += [f"{config}: {group}.{name}={json.dumps(value)}" for name, value in by_name.items()]
        return lines


def read_sweep(path: str, trusted: str = "") -> Sweep:
    """Read a sweep file; `trusted` as in `Sweep`.

    Raises:
        UsageError: not a file, not YAML, a key missing or unknown, or values that don't fit together.
    """
    content = _read_yaml(path, path)
    _check_keys(path, content)
    variants = content["variants"]
    if not isinstance(variants, dict) or not all(_is_settings(variant) for variant in variants.values()):
        raise UsageError(f"{path}: variants must map a name to settings, such as 'gc5: {{model.blocks: gc5}}'")
    # YAML reads `4:` as a number and `none:` without settings as null.
    content["variants"] = {str(name): settings or {} for name, settings in variants.items()}
    content["baseline"] = str(content["baseline"])
    content["settings"] = content.get("settings") or {}
    try:
        return Sweep(**content, trusted=trusted)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _check_keys(path: str, content: Any) -> None:
    allowed = [item.name for item in fields(Sweep) if item.name != "trusted"]
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected the keys {', '.join(REQUIRED)}; got {type(content).__name__}")
    unknown = sorted(str(key) for key in set(content) - set(allowed))
    if unknown:
        raise UsageError(f"{path}: expected only the keys {', '.join(allowed)}; got {unknown}")
    missing = [key for key in REQUIRED if content.get(key) in (None, "", [], {})]
    if missing:
        raise UsageError(f"{path}: missing {', '.join(missing)}")


def _is_settings(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _read_yaml(path: str, label: str) -> Any:
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = load_yaml(text)  # first, because it has limits
        doubled = doubled_key(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        one_line = " ".join(str(error).split())
        raise UsageError(f"{label}: {one_line}") from error
    if doubled:
        raise UsageError(f"{path}:{doubled.line}: {doubled}")
    return content
