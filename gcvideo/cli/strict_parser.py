"""The parser of the training verbs: strict, with errors of at most five lines and a compact help.

jsonargparse prints every option twice in its help (731 lines for `fit`), and some 90 lines of usage before an error.
"""

import difflib
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pytorch_lightning.cli import LightningArgumentParser

WIDTH = 118

DESCRIPTIONS = {
    "fit": "Train a model on the videos of a manifest.",
    "validate": "Evaluate one centre view of each validation video.",
    "test": "Evaluate many views of each test video, and write report.json and report.html.",
    "predict": "Print the labels of a video, or of every video in a folder.",
}

_GROUPS = ("data", "model")

_TRAINER = """\
--trainer.NAME VALUE sets any argument of Lightning's Trainer; `--print_config` lists them with their defaults. Often
used: accelerator, devices, num_nodes, strategy, precision, max_epochs, accumulate_grad_batches, gradient_clip_val,
limit_train_batches, fast_dev_run, overfit_batches, logger, callbacks, profiler, sync_batchnorm."""


class StrictParser(LightningArgumentParser):
    """Refuses abbreviated options, and keeps errors and help short."""

    verb = "fit"
    """The verb that is run; there is one in a process."""

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        return []  # argparse would accept any unambiguous prefix of an option

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print at most five lines and exit with 2."""
        lines = [line.strip() for line in str(message).splitlines() if line.strip()]
        first = lines[0] if lines else "bad arguments"
        shown = [f"error: {first[:300]}", *(cause[:300] for cause in _causes(lines[1:]))]
        match = re.search(r"option '([\w.]+)'", message) or re.search(r"--([\w.]+)", message)
        if match:
            near = difflib.get_close_matches(match[1], self.option_names(), n=3, cutoff=0.5)
            if near:
                shown.append(f"did you mean: {', '.join(near)}?")
        shown.append(f"'gcvideo {self.verb} --help' lists the options")
        sys.stderr.write("\n".join(shown) + "\n")
        sys.exit(2)

    def option_names(self) -> list[str]:
        """Names of all options of the verb, such as "model.optim.lr_batch"."""
        subparsers = self._subcommands_action  # None in the parser of a verb
        parser = subparsers.choices[self.verb] if subparsers is not None else self
        names = [action.dest for action in parser._actions]
        return [name for name in names if name not in ("help", "config") and not name.endswith(".help")]

    def format_help(self, formatter: Any = None) -> str:
        """A line or two for each option of ours; Lightning's Trainer by name."""
        lines = [
            f"usage: gcvideo {self.verb} [--config FILE ...] [--NAME VALUE ...]",
            "",
            DESCRIPTIONS[self.verb],
            "",
            "Settings come from the defaults, the files in their order, and the command line; later ones win.",
        ]
        for group in ("", *_GROUPS):
            lines += ["", f"{group or 'run'}:"]
            for action in self._actions:
                if action.dest.partition(".")[0] == group or (not group and "." not in action.dest):
                    lines += _option_lines(action, group)
        return "\n".join([*lines, "", "trainer:", textwrap.indent(_TRAINER, "  "), ""])


def _causes(lines: Sequence[str]) -> list[str]:
    """The one line of jsonargparse's details that tells the cause.

    For a union of types, jsonargparse lists an expectation for each of them ("- Expected a <class 'int'>"), and the
    value in a line of its own.
    """
    value = next((line.partition(": ")[2] for line in lines if line.startswith("Given value: ")), None)
    if value is None:
        return [line for line in lines if re.search(r"^Expected|line \d+, column", line)][-1:]
    types = [line.removeprefix("- Expected ").removeprefix("a ") for line in lines if line.startswith("- Expected ")]
    names = [re.sub(r"<class '([\w.]+)'>", r"\1", name).replace("NoneType", "null") for name in types]
    return [f"Expected {' or '.join(names)}. Got value: {value}"]


def _option_lines(action: Any, group: str) -> Iterator[str]:
    """Help of one option: its name and default, and what it means."""
    is_section = (
        not action.option_strings or action.dest in (group, "trainer", "help") or "CONFIG" in str(action.metavar)
    )
    if is_section and action.dest != "config":
        return
    choices = getattr(action, "choices", None)
    value = "{" + ",".join(map(str, choices)) + "}" if choices else ""
    default = "" if action.default in (None, "==SUPPRESS==") else f" (default: {_plain(action.default)})"
    head = " ".join(filter(None, (action.option_strings[-1], value))) + default
    yield from textwrap.wrap(head, WIDTH, initial_indent="  ", subsequent_indent="      ")
    text = re.sub(r"\s*\((required|type|default).*$", "", " ".join(str(action.help or "").split()), flags=re.DOTALL)
    if text and "%(" not in text and text != "==SUPPRESS==":
        yield from textwrap.wrap(text, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _plain(default: Any) -> str:
    return str(list(default) if isinstance(default, tuple) else default)
