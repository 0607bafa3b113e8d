"""Where a result comes from: the training and its settings, the data set and its official size, versions, commit."""

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gcvideo.data.manifest import Source, manifest_of_split
from gcvideo.errors import GcvideoError
from gcvideo.fit_marker import FitFacts, read_fit_facts
from gcvideo.report.results import DataFacts
from gcvideo.yaml_text import read_yaml

PACKAGES = ("gcvideo", "torch", "torchvision", "pytorch-lightning", "pytorchvideo", "decord", "torchmetrics")


def versions() -> dict[str, str]:
    """Version of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def commit() -> str | None:
    """Commit of the source tree; None outside a git checkout. A '+' marks uncommitted changes."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def official_rows(manifest: Source | None, split: str) -> int | None:
    """Rows of the official annotations of a split, whether or not their videos are available.

    Accuracies on two copies of Kinetics compare only with this number: every year more of its videos disappear.

    Args:
        manifest: `gcvideo prepare` writes summary.json into its folder, and its shards into a folder below.
        split: value of the manifest's column `split`.

    Returns:
        The number, or None if `gcvideo prepare` did not make the manifest, or not from official annotations.
    """
    if manifest is None:
        return None
    folder = manifest_of_split(manifest, split).parent
    if folder.name == "shards":
        folder = folder.parent
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        counts = summary["splits"].get(split) or summary["splits"][""]  # "": prepared without a column `split`
        return int(counts["listed"]) if summary["is_official"] else None
    except (OSError, ValueError, KeyError, TypeError):  # no such file, or somebody else's summary.json
        return None


def data_facts(manifest: str | Mapping[str, str] | None, split: str, label_separator: str | None = None) -> DataFacts:
    """Name, manifest and split of a data set; its name is that of its folder.

    Args:
        manifest: path, or path of each split.
        split: that was tested.
        label_separator: of the labels of a video, where it may have several.
    """
    if isinstance(manifest, Mapping):
        manifest = manifest.get(split)
    path = Path(manifest or ".").resolve()
    folder = path if path.is_dir() else path.parent
    name = folder.parent.name if folder.name == "shards" else folder.name
    return DataFacts(name, str(manifest), split, label_separator)


def training_config(run_dir: Path, checkpoint: str) -> dict[str, Any] | None:
    """The settings with which a run was trained, from its config.yaml.

    Returns:
        None if there is none that can be read, or if the checkpoint is not one of this run.
    """
    if not _belongs_to(run_dir, checkpoint):
        return None
    try:
        content = read_yaml(run_dir / "config.yaml")
    except GcvideoError:
        return None
    return content if isinstance(content, dict) else None


def training_facts(run_dir: Path, checkpoint: str) -> FitFacts | None:
    """What the training of a checkpoint of this run took; None if it has not finished."""
    return read_fit_facts(run_dir) if _belongs_to(run_dir, checkpoint) else None


def _belongs_to(run_dir: Path, checkpoint: str) -> bool:
    return Path(checkpoint).resolve().is_relative_to(run_dir.resolve())
