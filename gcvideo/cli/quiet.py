"""What Lightning says that does not concern the user: advertisements, tips that do not apply, devices that are missing.

Whatever is about the user's own settings stays.
"""

import logging
import re
import warnings
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

# Each with the reason.
_WARNINGS = (
    ".*callbacks used to create the checkpoint.*",  # a test needs none of them
    ".*your dataloader is not resumable.*",  # ours is: see TrainSampler
    "Total length of `list` across ranks is zero.*",  # a training without validation, of which we warn
    "Checkpoint directory .* exists and is not empty.*",  # that of the run that is resumed
    ".*treespec, LeafSpec.*",  # deprecation inside Lightning
    ".*`IterableDataset` has `__len__`.*",  # ours is right: see TrainStream
    "Total length of `list` across ranks is zero.*",  # a training without validation videos
    ".*does not have many workers which may be a bottleneck.*",  # `data_wait` measures it, `gcvideo doctor` advises
    ".*Consider setting `persistent_workers=True`.*",  # a test has one pass, and starts its workers once
    r"Found \d+ module\(s\) in eval mode at the start of training.*",  # those that model.freeze names
    ".*is smaller than the logging interval Trainer.*",  # the figures of each epoch are logged in any case
)
_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.accelerators.cuda",
    "lightning_fabric.utilities.distributed",
    "lightning_fabric.utilities.seed",
)
_MESSAGES = re.compile(
    "|".join(
        (
            "💡 Tip:",  # advertisements
            r"\w+ available: .*, us(ed|ing): ",  # devices: we name the one that is used
            r"(\[rank: \d+\] )?Seed set to \d+",  # a setting of the user
            r"`Trainer\.\w+` stopped: `max_(epochs|steps)",  # the end that was asked for
            r"Restoring states from the checkpoint path",  # another message follows when they are restored
            r"LOCAL_RANK: \d+ - CUDA_VISIBLE_DEVICES|Initializing distributed: |-+\ndistributed_backend=",  # as above
        )
    )
)


def silence_foreign_messages() -> None:
    """Drop them, and print our own warnings without file and line, for the rest of the process."""
    foreign = warnings.formatwarning

    def format_warning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if Path(filename).is_relative_to(PACKAGE):
            return f"warning: {message}\n"
        return foreign(message, category, filename, lineno, line)

    warnings.formatwarning = format_warning
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    return not _MESSAGES.match(record.getMessage())
