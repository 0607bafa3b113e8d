"""Published checkpoints by name: published.csv says where each is and which model takes it.

The URLs are those in the model zoos of the projects; the hashes are the parts of them that the file names contain. Two
files of mmaction2 are listed there with the same hash, so neither is checked here. A file without a published hash is
trusted when it first arrives, with a warning; from then on its own hash is.

Files are fetched by `gcvideo.download` and not by `torch.hub.download_url_to_file`. Measured against a server that cuts
the body short: without a hash, which a third of the files have not, torch.hub keeps the cut file under its final name
and reports no error. It also starts anew instead of resuming, and two processes download the same file twice.
"""

import csv
import difflib
import fnmatch
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import nn

from gcvideo.download import download, sha256_of
from gcvideo.files import write_text
from gcvideo.models.checkpoint_file import WeightsError
from gcvideo.models.head import Head
from gcvideo.models.loading import Inflation, WeightsReport, load_weights
from gcvideo.models.placement import PRESETS
from gcvideo.yaml_text import load_yaml


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One published file: a row of published.csv.

    Args:
        name: such as "pytorchvideo/slow_8x8_r50".
        url: of the file.
        sha256: beginning of its digest, or "" if it is not published.
        network, blocks: arguments of `create_model` for a model that the file fits.
        options: of the blocks, as "name=value ...".
        head: argument of `create_model`: how its project evaluates it.
        kind: "video" if that model computes what the published one does, "image" if the file only initialises it.
    """

    name: str
    url: str
    sha256: str
    network: str
    blocks: str
    options: str
    head: Head
    kind: str

    @property
    def block_options(self) -> dict[str, Any]:
        """`options` as arguments of `create_model`."""
        pairs = (item.split("=") for item in self.options.split())
        return {key: load_yaml(value) for key, value in pairs}  # "False" -> False, "0.5" -> 0.5


@cache
def checkpoints() -> dict[str, Checkpoint]:
    """Name -> published checkpoint."""
    text = (files("gcvideo.models") / "published.csv").read_text(encoding="utf-8")
    rows: Iterable[dict[str, Any]] = csv.DictReader(text.splitlines())
    return {row["name"]: Checkpoint(**row) for row in rows}


def list_weights(pattern: str = "*") -> list[str]:
    """Names of published checkpoints that match a glob such as "mmaction2/slow*", in the order of published.csv."""
    return [name for name in checkpoints() if fnmatch.fnmatchcase(name, pattern)]


def block_options_for(weights: str | None, blocks: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the blocks of a model: those that are stated, and for the others those of a published file.

    Args:
        weights: a name of published.csv; anything else has no options.
        blocks: of the model; only blocks of the same family take the options of the file.
        stated: what the user passed to `create_model`.
    """
    entry = checkpoints().get(weights or "")
    if entry is None or blocks not in PRESETS or PRESETS[blocks].family != PRESETS[entry.blocks].family:
        return dict(stated)
    return {**entry.block_options, **stated}


def head_for(weights: str | None, stated: Head | None) -> Head:
    """Head of a model: the one that is stated, else that of a published file, else "pool"."""
    entry = checkpoints().get(weights or "")
    return stated or (entry.head if entry else "pool")


def load_for(
    model: nn.Module, weights: str, network: str, options: Mapping[str, Any], inflation: Inflation | None = None
) -> WeightsReport:
    """`load_weights` of a file or a published name, with what the table tells of the latter.

    Args:
        model: of `create_model`.
        weights: see `find_weights`.
        network: name of the model's network.
        options: of the model's blocks, those that are stated.
        inflation: stated by the user; default that of an image checkpoint, if it is one.

    Raises:
        WeightsError, DownloadError: see `load_weights` and `find_weights`.
    """
    entry = checkpoints().get(weights)
    stated = set(options)
    if entry is not None and entry.network == network:
        stated.add("network")
    if entry is not None and entry.kind == "image":
        inflation = inflation or "mean"
    return load_weights(model, find_weights(weights), inflation, stated)


def other_function(name: str, network: str, blocks: str, options: Mapping[str, Any], head: Head | None = None) -> str:
    """Why a model would compute something else than the published one of that name, or "".

    The names, shapes and strides of a video checkpoint do not always tell: see docs/weights.md. Files that are not
    published, and image checkpoints, have no such model.
    """
    entry = checkpoints().get(name)
    if entry is None or entry.kind == "image":
        return ""
    problems = []
    if entry.network != network:
        problems.append(f"network {entry.network}, not {network}")
    if entry.blocks != "none":  # blocks that the file does not have are new, which is no mistake
        if entry.blocks != blocks:
            problems.append(f"blocks {entry.blocks}, not {blocks}")
        for key, value in entry.block_options.items():
            if options.get(key) != value:
                problems.append(f"{key}={value}, not {options.get(key)}")
    if head not in (None, entry.head):
        problems.append(f"head {entry.head}, not {head}")
    return f"{name} is published with {', '.join(problems)}" if problems else ""


def find_weights(name_or_path: str, folder: str | Path | None = None) -> Path:
    """Path of a checkpoint; one that is named is downloaded once.

    Args:
        name_or_path: a file, such as "runs/mine/checkpoints/best.ckpt", or a name of published.csv, such as
            "pytorchvideo/slow_8x8_r50"; see `list_weights`.
        folder: of the downloads; default $GCVIDEO_CACHE, else ~/.cache/gcvideo.

    Raises:
        WeightsError: neither a file nor a name.
        DownloadError: see `download`.
    """
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    table = checkpoints()
    if name_or_path not in table:
        near = difflib.get_close_matches(name_or_path, table, n=4, cutoff=0.2) or list(table)[:4]
        raise WeightsError(
            f"weights must be a file or a name of gcvideo/models/published.csv, such as {', '.join(near)}; "
            f"got {name_or_path!r}"
        )
    entry = table[name_or_path]
    cache_dir = Path(folder or os.environ.get("GCVIDEO_CACHE") or Path.home() / ".cache" / "gcvideo")
    suffix = Path(entry.url).suffix  # kept, because .pkl decides how the file is read
    path = download(entry.url, cache_dir / f"{entry.name}{suffix}", entry.sha256)
    _check_unchanged(path, entry)
    return path


def _check_unchanged(path: Path, entry: Checkpoint) -> None:
    """Compare a downloaded file with the digest in `<file>.sha256`, which is written after the download."""
    record, digest = path.with_name(f"{path.name}.sha256"), sha256_of(path)
    if not digest.startswith(entry.sha256.lower()):
        raise WeightsError(
            f"{path}: SHA-256 is {digest}, expected {entry.sha256}...; delete the file to fetch it again"
        )
    if not record.exists():
        write_text(record, f"{digest}  {path.name}\n")
        if not entry.sha256:
            warnings.warn(
                f"{entry.name}: its project publishes no SHA-256; trusting this download, {digest}", stacklevel=4
            )
    elif record.read_text(encoding="utf-8").split()[:1] != [digest]:
        raise WeightsError(f"{path} has changed since it was downloaded; delete it and {record.name} to fetch it again")
