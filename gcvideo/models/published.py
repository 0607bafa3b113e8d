"""Published checkpoints by name: published.csv says where each is and which model takes it.

The URLs are those in the model zoos of the projects; the hashes are the parts that stand in the file names. Two files
of mmaction2 are listed there with one and the same hash, so neither is checked here.
"""

import csv
import difflib
import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from gcvideo.download import download
from gcvideo.models.checkpoint_file import WeightsError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One published file: `network`, `blocks` and `options` ("name=value ...") are the arguments of `create_model`."""

    name: str
    url: str
    sha256: str
    network: str
    blocks: str
    options: str


@cache
def checkpoints() -> dict[str, Checkpoint]:
    """Name -> published checkpoint."""
    text = (files("gcvideo.models") / "published.csv").read_text(encoding="utf-8")
    return {row["name"]: Checkpoint(**row) for row in csv.DictReader(text.splitlines())}


def list_weights(pattern: str = "*") -> list[str]:
    """Names of published checkpoints that match a glob such as "mmaction2/slow*", in the order of published.csv."""
    return [name for name in checkpoints() if fnmatch.fnmatchcase(name, pattern)]


def other_function(name: str, network: str, blocks: str, options: Mapping[str, Any]) -> str:
    """Why a model would compute something else than the published one of that name, or "".

    The names, shapes and strides of a video checkpoint do not always tell: see docs/weights.md. ImageNet weights, and
    files, are of no video model.
    """
    entry = checkpoints().get(name)
    if entry is None or name.startswith(("torchvision/", "mmdetection/")) or name == "pyslowfast/r50_in1k":
        return ""
    wanted = {key: yaml.safe_load(value) for key, value in (item.split("=") for item in entry.options.split())}
    given = {key: options.get(key) for key in wanted}
    problems = [f"network {entry.network}, not {network}"] if entry.network != network else []
    if entry.blocks != "none":
        problems += [f"blocks {entry.blocks}, not {blocks}"] if entry.blocks != blocks else []
        problems += [f"{key}={wanted[key]}, not {given[key]}" for key in wanted if wanted[key] != given[key]]
    return f"{name} was trained with {', '.join(problems)}" if problems else ""


def find_weights(name_or_path: str, folder: str | Path | None = None) -> Path:
    """Path of a checkpoint: a file as it is; a name of published.csv is downloaded once.

    Args:
        name_or_path: such as "pytorchvideo/slow_8x8_r50" or "runs/mine/checkpoints/best.ckpt".
        folder: of the downloads; default $GCVIDEO_CACHE, else ~/.cache/gcvideo.

    Raises:
        WeightsError: neither a file nor a name.
        DownloadError: see `download`.
    """
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    known = checkpoints()
    if name_or_path not in known:
        near = difflib.get_close_matches(name_or_path, known, n=4, cutoff=0.2) or list(known)[:4]
        raise WeightsError(
            f"weights must be a file or a name of gcvideo/models/published.csv, such as {', '.join(near)}; "
            f"got {name_or_path!r}"
        )
    entry = known[name_or_path]
    cache_dir = Path(folder or os.environ.get("GCVIDEO_CACHE") or Path.home() / ".cache" / "gcvideo")
    suffix = Path(entry.url).suffix
    return download(entry.url, cache_dir / f"{entry.name}{suffix}", entry.sha256)
