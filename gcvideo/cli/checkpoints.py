"""Which checkpoint `--ckpt_path` means: a file, or of a run `last`, `best` or `auto`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from gcvideo.errors import UsageError
from gcvideo.training.checkpoint_io import DamagedCheckpointError, verify
from gcvideo.training.last_checkpoint import LAST, PREVIOUS

BEST = "best.ckpt"


def checkpoint_to_resume(run_dir: Path, requested: str | None, writes: bool) -> str | None:
    """Where a `fit` continues; None for a fresh start.

    Args:
        run_dir: folder of the run.
        requested: "auto" (the newest good state, else a fresh start), "last" (the same, but there must be one), "best",
            a file, or None (a fresh start).
        writes: whether this fit will write checkpoints there.

    Raises:
        UsageError: no such checkpoint, a damaged one without a good one before it, or a fit that would overwrite the
            checkpoints of another.
    """
    folder = run_dir / "checkpoints"
    states = [folder / name for name in (LAST, PREVIOUS, BEST)]
    if requested in ("auto", "last"):
        if requested == "auto" and not any(path.exists() for path in states):
            rank_zero_info(f"{run_dir} holds no checkpoint: a fresh start")
            return None
        return _newest_good(states, run_dir)
    has_run = any(path.exists() for path in states)
    path = None if requested is None else _named(folder, requested)
    # Whatever such a fit saved would replace the checkpoints that are there.
    if writes and has_run and (path is None or path.resolve().parent != folder.resolve()):
        raise UsageError(f"{run_dir} holds a run already: add --ckpt_path auto to resume it, or choose another --name")
    if path is None:
        return None
    verify(path)
    return str(path)


def checkpoint_to_evaluate(run_dir: Path, requested: str | None) -> str:
    """The weights of `validate` and `test`: a file, "last", "auto" (as "last"), or "best", the default.

    Raises:
        UsageError: no such checkpoint, or a damaged one.
    """
    folder = run_dir / "checkpoints"
    if requested in ("auto", "last"):
        return _newest_good([folder / LAST, folder / PREVIOUS], run_dir)
    path = _named(folder, requested or "best")
    verify(path)
    return str(path)


def refuse_other_labels(checkpoint: str, stored: dict[str, Any], separator: str | None) -> None:
    """Refuse to resume with another kind of labels: the loss would be another.

    Args:
        checkpoint: path.
        stored: settings of its model.
        separator: of the labels in the data; None for one label each.

    Raises:
        UsageError: of one there may be several for each video, of the other not.
    """
    if stored.get("multi_label", False) != (separator is not None):
        raise UsageError(
            f"{checkpoint} was trained {'with' if separator is None else 'without'} data.label_separator: resume with "
            f"its settings, or start from its weights with --model.weights"
        )


def refuse_other_classes(checkpoint: str, before: Sequence[str], names: Sequence[str]) -> None:
    """Refuse class names that are not those of a checkpoint: its outputs would be counted for the wrong classes.

    Args:
        checkpoint: its path, for the message.
        before: its class names.
        names: those of the run.

    Raises:
        UsageError: the lists differ.
    """
    if list(before) == list(names):
        return
    if len(before) != len(names):
        raise UsageError(f"{checkpoint} has {len(before)} classes, the manifest or data.class_names {len(names)}")
    index = next(index for index, (old, new) in enumerate(zip(before, names, strict=True)) if old != new)
    raise UsageError(
        f"{checkpoint} has other classes: class {index} is {before[index]!r} there, and {names[index]!r} in the "
        f"manifest or data.class_names"
    )


def _named(folder: Path, requested: str) -> Path:
    path = folder / BEST if requested == "best" else Path(requested)
    if not path.is_file():
        raise UsageError(f"no checkpoint {path}: pass --ckpt_path <file>, or the --name of a run that has been fitted")
    return path


def _newest_good(paths: Sequence[Path], run_dir: Path) -> str:
    """The first of them that is whole; the newest comes first."""
    problems = []
    for path in paths:
        if not path.exists():
            continue
        try:
            verify(path)
        except DamagedCheckpointError as error:
            problems.append(str(error))
            continue
        if problems:
            rank_zero_warn(f"{problems[0]}; using {path.name} instead")
        return str(path)
    raise UsageError(problems[0] if problems else f"no checkpoint in {run_dir}: fit it first, or pass a file")
