"""`fit-finished.json`: the proof that a fit reached its configured end, with which checkpoints, and what it took.

An exit status proves nothing to a process that was not there, and a checkpoint does not tell whether more was to come:
a fit ends after its epochs or steps, by early stopping, or after a time. Only the training loop knows, so it writes the
file at its end, with digests of the checkpoints. Where they differ, another fit has been at work since.

Light to import: a sweep reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcvideo.files import json_text, write_text

NAME = "fit-finished.json"
CHECKPOINTS = ("best.ckpt", "last.ckpt")


@dataclass(frozen=True, slots=True)
class FitFacts:
    """What a finished fit took; None is what its file does not tell.

    Args:
        epochs, steps: that were trained, over all sessions of the run.
        seconds: of training and validation, over all sessions.
        device: such as "2 x NVIDIA H100", in the last session.
        metric: that chose best.ckpt, such as "val/video_top1"; None where there was no validation.
        best: its value there.
        best_epoch: after which best.ckpt was written, from 1.
    """

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    device: str | None = None
    metric: str | None = None
    best: float | None = None
    best_epoch: int | None = None


def write_fit_marker(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Record that the fit of a run has reached its end.

    Args:
        run_dir: folder of the run.
        facts: what it took: fields of `FitFacts`.
    """
    write_text(run_dir / NAME, json_text({**facts, "sha256": _digests(run_dir)}))


def finished_checkpoint(run_dir: Path) -> str | None:
    """Digest of best.ckpt if the checkpoints of the run are those of a finished fit; else None."""
    recorded = _content(run_dir).get("sha256")
    found = _digests(run_dir)
    return found.get("best.ckpt") if found == recorded else None


def read_fit_facts(run_dir: Path) -> FitFacts | None:
    """What the fit of a run took; None if it has not finished, or if another fit has been at work since."""
    if finished_checkpoint(run_dir) is None:
        return None
    kinds = {"device": str, "metric": str}  # the others are numbers
    content, facts = _content(run_dir), dict[str, Any]()
    for name in FitFacts.__slots__:
        value = content.get(name)
        if isinstance(value, kinds.get(name, int | float)):
            facts[name] = value
    return FitFacts(**facts)


def _content(run_dir: Path) -> dict[str, Any]:
    try:
        content = json.loads((run_dir / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or damaged: it proves nothing
        return {}
    return content if isinstance(content, dict) else {}


def _digests(run_dir: Path) -> dict[str, str]:
    digests = {name: digest_of(run_dir / "checkpoints" / name) for name in CHECKPOINTS}
    return {name: digest for name, digest in digests.items() if digest is not None}


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file; None if it can't be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
