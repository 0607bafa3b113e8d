"""Errors of others that a user's value or machine has caused, in one line and without a traceback."""

import linecache
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from gcvideo.errors import GcvideoError, UsageError

# What torch's allocators say. There is no class for it on a CPU.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")

_LIGHTNING = ("pytorch_lightning.", "lightning_fabric.")


@contextmanager
def lightning_errors() -> Iterator[None]:
    """Turn errors that Lightning raises on purpose, and those of the system, into one line.

    Raises:
        UsageError: Lightning refuses a value: its MisconfigurationException, or another error that a `raise` of its
            code is the origin of. Those of other code are bugs, and keep their traceback.
        GcvideoError: a file or a folder can't be written or read, or a disk is full.
    """
    try:
        yield
    except GcvideoError:  # some of which are ValueErrors
        raise
    except MisconfigurationException as error:
        raise UsageError(one_line(error)) from error
    except (ValueError, RuntimeError, ImportError) as error:
        if not _raised_by_lightning(error):
            raise
        raise UsageError(one_line(error)) from error
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise GcvideoError(f"{where}{error.strerror}") from error


@contextmanager
def out_of_memory(verb: str, data: Mapping[str, Any]) -> Iterator[None]:
    """Turn the errors of all allocators into one.

    Args:
        verb: what runs.
        data: settings of the data module.

    Raises:
        GcvideoError: the memory of a device or of the machine did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        views, evaluated = data["views"], f"data.loading.eval_batch_size {data['loading']['eval_batch_size']}"
        hint = {
            "fit": f"data.batch_size {data['batch_size']}: lower it, and raise trainer.accumulate_grad_batches to "
            f"train as before (in a validation: {evaluated})",
            "validate": f"{evaluated}: lower it",
        }.get(verb, f"{views['temporal']} x {views['spatial']} views of a video: lower data.views.temporal")
        # The first line: of a loader's process, torch appends the traceback.
        reason = next(line for line in _causes(error) if any(text in line for text in _OUT_OF_MEMORY))
        raise GcvideoError(
            f"out of memory with clips of {data['clip']['frames']} frames and {hint}\n{reason[:300]}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator has failed, in this process or in one of its loader's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def _causes(error: BaseException) -> list[str]:
    lines = [line.strip() for line in str(error).splitlines()]
    return [*lines, f"{type(error).__name__}: out of memory"]  # a MemoryError may have no text


def _raised_by_lightning(error: BaseException) -> bool:
    """Whether an error comes from a `raise` of Lightning, and not from a call into C that failed there."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    is_lightning = frame.f_globals.get("__name__", "").startswith(_LIGHTNING)
    return is_lightning and linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")


def one_line(error: BaseException) -> str:
    """Message of an error. Of jsonargparse's, which lists what each type of a union says, the first entry."""
    text = str(error)
    listed = re.search(r"Errors:\n\s*- (.*)", text)
    return " ".join((listed[1] if listed else text).split())[:500]
