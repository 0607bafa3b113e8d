"""What `validate` and `test` take from a checkpoint, and what only from the user.

A checkpoint may come from anyone. It says what the network is and what a clip shows it. It does not say which files are
read, over which network, and which of them may be broken or lie elsewhere: that is taken from config.yaml of the run's
own folder, which `fit` has written here, or from the command line.
"""

from pathlib import Path
from typing import Any

from gcvideo.errors import UsageError
from gcvideo.training.checkpoint import read_settings
from gcvideo.yaml_text import read_yaml

# Settings of the data that a checkpoint decides; of the model it decides all. The class names are the meaning of the
# logits, and the separator says whether a video has several of them; `clip`, `augment` (its size and scale, which
# `views` take over) and `views` are the pixels that the network was trained for. Not manifest, root, splits and predict
# (which files, and over which network), loading (broken videos, links that lead elsewhere), decoder (which library
# reads the files), batch_size, num_workers and seed.
FROM_CHECKPOINT = ("class_names", "label_separator", "clip", "augment", "views")


def adopted_settings(checkpoint: Path, run_dir: Path) -> dict[str, dict[str, Any]]:
    """Settings of a checkpoint, and of the own run that it belongs to: {"model": ..., "data": ...}, nested.

    Args:
        checkpoint: file.
        run_dir: folder of the run; its config.yaml is used if the checkpoint lies in this folder.

    Raises:
        UsageError: not a checkpoint, or config.yaml can't be read.
    """
    stored = read_settings(checkpoint)
    data = {name: value for name, value in stored["data"].items() if name in FROM_CHECKPOINT}
    return {"model": stored["model"], "data": {**_own_data(checkpoint, run_dir), **data}}


def _own_data(checkpoint: Path, run_dir: Path) -> dict[str, Any]:
    config = run_dir / "config.yaml"
    if not config.is_file() or not checkpoint.resolve().is_relative_to(run_dir.resolve()):
        return {}
    content = read_yaml(config)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict):
        raise UsageError(f"{config}: expected the settings of a run, got no section 'data'")
    return data
