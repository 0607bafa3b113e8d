"""`fit-finished.json`: the proof that a fit reached its configured end, and with which checkpoints.

An exit status proves nothing to a process that was not there, and a checkpoint does not tell whether more was to come:
a fit ends after its epochs or steps, by early stopping, or after a time. Only the training loop knows, so it writes the
file at its end, with digests of the checkpoints. Where they differ, another fit has been at work since.

Light to import: a sweep reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from gcvideo.files import json_text, write_text

NAME = "fit-finished.json"
CHECKPOINTS = ("best.ckpt", "last.ckpt")


def write_fit_marker(run_dir: Path, progress: Mapping[str, int]) -> None:
    """Record that the fit of a run has reached its end.

    Args:
        run_dir: folder of the run.
        progress: what was trained, for the reader: epochs and steps.
    """
    write_text(run_dir / NAME, json_text({**progress, "sha256": _digests(run_dir)}))


def finished_checkpoint(run_dir: Path) -> str | None:
    """Digest of best.ckpt if the checkpoints of the run are those of a finished fit; else None."""
    try:
        recorded = json.loads((run_dir / NAME).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: it proves nothing
        return None
    found = _digests(run_dir)
    return found.get("best.ckpt") if found == recorded else None


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
