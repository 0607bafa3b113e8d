"""Which trained model a verb uses: `predict`, `serve`, `analyze` and `attend`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gcvideo.errors import UsageError

if TYPE_CHECKING:
    from gcvideo.recognition import Recognizer


def add_model_options(parser: argparse.ArgumentParser, choice: argparse._ActionsContainer | None = None) -> None:
    """The options that choose a trained model: a run by its name, or a file.

    Args:
        parser: gets the options.
        choice: a group of it for --name and --ckpt_path, if its usage is to say that one of them is required.
    """
    choice = parser if choice is None else choice
    choice.add_argument("--name", help="name of the run; its best checkpoint is used")
    choice.add_argument("--ckpt_path", metavar="FILE", help="checkpoint or package, instead of --name")
    parser.add_argument("--runs_dir", default="runs", help="folder of all runs")
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:<number>")


def load_chosen(args: argparse.Namespace) -> "Recognizer":
    """The model that the options of `add_model_options` choose.

    Raises:
        UsageError: neither or both of them, or it can't be loaded.
    """
    if (args.name is None) == (args.ckpt_path is None):
        raise UsageError("expected either --name, of a run, or --ckpt_path, a file")
    from gcvideo.recognition import load

    return load(args.ckpt_path or Path(args.runs_dir) / args.name, args.device)
