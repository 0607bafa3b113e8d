"""How checkpoints are written and read: atomically, and with a checksum.

Lightning's own writer stages a file in $TMPDIR and then moves it. Where that is another file system, as on most
clusters, the move is a copy over the old file, and a process that dies during it leaves neither the old checkpoint nor
the new one.

A checkpoint is a zip file whose entries carry a CRC-32, which torch writes and does not verify. So no file next to it
has to hold its checksum, and `unzip -t` verifies it, too.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO

from gcvideo.errors import GcvideoError, UsageError
from gcvideo.files import replacing
from gcvideo.models.torch_file import read_torch, reason_of


class DamagedCheckpointError(UsageError):
    """A file that is no checkpoint, or not the one that was written."""


class SafeCheckpointIO(CheckpointIO):
    """Writes and reads the checkpoints of a Trainer: `Trainer(plugins=[SafeCheckpointIO()])`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replace the file at `path`.

        Raises:
            GcvideoError: the weights are not finite, or the file can't be written; the file that was there remains.
        """
        refuse_nan(checkpoint.get("state_dict", {}), path)
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # A Python stream, because torch's own writer hides the reason why a disk refuses.
            with replacing(target) as partial, partial.open("wb") as stream:
                torch.save(checkpoint, stream)
        except (OSError, RuntimeError) as error:
            # torch's writer fails once more while it cleans up; what the disk said is the context of that.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise GcvideoError(f"can't write the checkpoint {target}: {cause.strerror}{_room(target)}") from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Contents of a checkpoint; whatever `weights_only` says, nothing in it is run.

        Raises:
            DamagedCheckpointError: see `verify`, or it holds more than tensors and plain values.
        """
        verify(path)
        return read(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def verify(path: str | Path) -> None:
    """Check the checksums of a checkpoint.

    Raises:
        DamagedCheckpointError: it can't be read, was cut short or changed, or is something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # torch compresses nothing. What is compressed could be a bomb, and is nothing that torch would load.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise DamagedCheckpointError(f"{path} is not a checkpoint: its entries are compressed")
            damaged = archive.testzip()
    # NotImplementedError: a damaged header asks for a feature; the others: fields that make no sense.
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DamagedCheckpointError(f"{path} is damaged or not a checkpoint: {error}") from error
    if damaged is not None:
        raise DamagedCheckpointError(f"{path} is damaged: the checksum of {damaged!r} is wrong")


def read(path: str | Path, mmap: bool = False) -> dict[str, Any]:
    """Contents of a checkpoint, on the CPU: tensors and plain values only; see `read_torch`.

    Raises:
        DamagedCheckpointError: not a checkpoint, or one that holds anything else.
    """
    try:
        content = read_torch(path, mmap=mmap)
    except Exception as error:  # bytes that are no checkpoint fail in any way
        raise DamagedCheckpointError(f"{path} is not a checkpoint of gcvideo: {reason_of(error)}") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise DamagedCheckpointError(f"{path} is not a checkpoint of gcvideo: it has no state_dict")
    return content


def refuse_nan(state: dict[str, Any], path: Any) -> None:
    """Refuse to save weights that are not finite.

    Raises:
        GcvideoError: names the tensors.
    """
    floating = {name: value for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point()}
    bad = [name for name, value in floating.items() if not torch.isfinite(value).all()]
    if bad:
        raise GcvideoError(
            f"{len(bad)} of {len(floating)} tensors are not finite, such as {bad[0]}: {path} is not written; "
            f"lower model.lr and resume"
        )


def _room(target: Path) -> str:
    """What is free on the disk of a file, for a message."""
    try:
        status = os.statvfs(target.parent)
    except OSError:
        return ""
    return f" ({status.f_bavail * status.f_frsize / 2**20:.0f} MiB free)"
