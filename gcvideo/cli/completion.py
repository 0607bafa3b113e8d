"""`gcvideo completion bash|zsh`: a script that completes verbs, options and choices.

The options of the training verbs come from the stored help, so that neither this verb nor the shell needs torch.
"""

import argparse
import re
from collections.abc import Mapping

from gcvideo.cli.help import DESCRIPTIONS, OFTEN_USED, stored_help
from gcvideo.cli.parser import Verb, verb_parser
from gcvideo.errors import UsageError

SHELLS = ("bash", "zsh")


def completion_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo completion`."""
    parser = verb_parser(
        "completion",
        "Print a script for the shell that completes verbs, options and their choices. "
        'Bash: eval "$(gcvideo completion bash)" in ~/.bashrc. '
        "Zsh: gcvideo completion zsh > _gcvideo in a folder of $fpath.",
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser


def run_completion(args: argparse.Namespace) -> int:
    """`gcvideo completion`."""
    from gcvideo.cli.main import VERBS

    print(completion_script(args.shell, VERBS))
    return 0


def completion_script(shell: str, verbs: Mapping[str, Verb]) -> str:
    """The script.

    Args:
        shell: one of `SHELLS`.
        verbs: all but those of the training.

    Raises:
        UsageError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise UsageError("completion needs the package shtab: pip install 'gcvideo[completion]'") from None

    parser = argparse.ArgumentParser("gcvideo", add_help=False)
    parser.add_argument("--help", "--version", action="store_true", help="print it")
    subparsers = parser.add_subparsers()
    for verb in (*DESCRIPTIONS, "doctor"):
        # doctor takes the options of fit
        training = subparsers.add_parser(verb, help=DESCRIPTIONS.get(verb, "Examine a training before it starts."))
        _add_training_options(training, "fit" if verb == "doctor" else verb)
    for verb, made in verbs.items():
        single = made.parser()
        subparsers.add_parser(verb, parents=[single], add_help=False, help=single.description)
    return str(shtab.complete(parser, shell=shell))


def _add_training_options(parser: argparse.ArgumentParser, verb: str) -> None:
    import shtab

    for name, choices in re.findall(r"^  --([\w.]+)(?:\s+\{([^}]*)\})?", stored_help(verb), re.MULTILINE):
        option = parser.add_argument(f"--{name}", choices=re.split(r",\s+", choices) if choices else None)
        if name in ("config", "ckpt_path", "data.manifest", "data.root", "model.weights"):
            option.complete = shtab.FILE  # type: ignore[attr-defined]
    for name in OFTEN_USED:
        parser.add_argument(f"--trainer.{name}")


VERBS = {"completion": Verb(completion_parser, run_completion)}
