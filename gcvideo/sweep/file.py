"""What a sweep file says: variants x seeds of one configuration; see docs/training.md."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml


class SweepError(ValueError):
    """The sweep can't begin as it was asked for."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep file.

    Args:
        name: folder of the sweep in `runs_dir`.
        config: configuration file, or several of which later ones win; paths as for `--config`.
        variants: name -> settings that differ, such as {model.context: gc5}.
        baseline: the variant that the others are compared with.
        seeds: of `seed_everything`, at least two to compare anything.
        settings: for all variants.
        metric: number in report.json to compare.
        runs_dir: folder of all runs.
    """

    name: str
    config: str | list[str]
    variants: dict[str, dict[str, Any]]
    baseline: str
    seeds: list[int]
    settings: dict[str, Any] = field(default_factory=dict)
    metric: str = "video_top1"
    runs_dir: str = "runs"

    @property
    def folder(self) -> Path:
        return Path(self.runs_dir) / self.name

    @property
    def configs(self) -> list[str]:
        return [self.config] if isinstance(self.config, str) else self.config

    def run_folder(self, variant: str, seed: int) -> Path:
        """Folder of one run; its name is the run's."""
        return self.folder / f"{variant}-seed{seed}"

    def contents(self) -> list[str]:
        """Every setting of the configuration files, so that a changed file is noticed."""
        lines = []
        for config in self.configs:
            try:
                content = yaml.safe_load(Path(config).read_text(encoding="utf-8")) or {}
            except (OSError, yaml.YAMLError) as error:
                raise SweepError(f"config {config}: {' '.join(str(error).split())}") from error
            for group, settings in content.items():
                named = settings.items() if isinstance(settings, dict) else [("", settings)]
                lines += [f"{config}: {group}.{name}={json.dumps(value)}" for name, value in named]
        return lines

    def arguments(self, variant: str, seed: int) -> list[str]:
        """Command-line options of one run."""
        options = [f"--config={config}" for config in self.configs]
        name = self.run_folder(variant, seed).name
        options += [f"--name={name}", f"--runs_dir={self.folder}", f"--seed_everything={seed}"]
        for key, value in {**self.settings, **self.variants[variant]}.items():
            options.append(f"--{key}={value if isinstance(value, str) else json.dumps(value)}")
        return options


def read_sweep(path: str) -> Sweep:
    """Read a sweep file.

    Raises:
        SweepError: not a file, not YAML, a key missing or unknown, or values that don't fit together.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SweepError(f"{path}: {' '.join(str(error).split())}") from error
    known = [item.name for item in fields(Sweep)]
    if not isinstance(content, dict) or not set(content) <= set(known):
        wrong = sorted(set(content) - set(known)) if isinstance(content, dict) else type(content).__name__
        raise SweepError(f"{path}: keys must be of {', '.join(known)}; got {wrong}")
    needed = ("name", "config", "variants", "baseline", "seeds")
    missing = [name for name in needed if content.get(name) in (None, "", [], {})]
    if missing:
        raise SweepError(f"{path}: missing {', '.join(missing)}")
    variants, seeds = content["variants"], content["seeds"]
    if not isinstance(variants, dict) or not all(v is None or isinstance(v, dict) for v in variants.values()):
        raise SweepError(f"{path}: variants must map a name to settings, such as 'gc5: {{model.context: gc5}}'")
    content["baseline"] = str(content["baseline"])
    content["variants"] = {str(name): settings or {} for name, settings in variants.items()}
    content["settings"] = content.get("settings") or {}
    if content["baseline"] not in content["variants"]:
        raise SweepError(
            f"{path}: baseline must be one of {', '.join(content['variants'])}; got {content['baseline']!r}"
        )
    if not isinstance(seeds, list) or len(set(seeds)) < len(seeds) or not all(type(seed) is int for seed in seeds):
        raise SweepError(f"{path}: seeds must be a list of different whole numbers, got {seeds}")
    return Sweep(**content)
