"""The parser of the training verbs: strict, with errors of at most five lines.

jsonargparse prints some 90 lines of usage before an error.
"""

import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from gcvideo.cli.help import help_text
from gcvideo.cli.suggestions import meant_option
from gcvideo.cli.trusted import refusal
from gcvideo.terminal import printable


class StrictParser(LightningArgumentParser):
    """Refuses abbreviated options, and keeps errors and help short."""

    verb = "fit"
    """The verb that is run; there is one in a process."""

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        return []  # argparse would accept any unambiguous prefix of an option

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print at most five lines and exit with 2."""
        lines = [line.strip() for line in str(message).splitlines() if line.strip()]
        if refused := refusal(message):
            lines = [refused]
        first = lines[0] if lines else "bad arguments"
        shown = [f"error: {first[:300]}", *(cause[:300] for cause in _causes(lines[1:]))]
        match = re.search(r"option '([\w.]+)'", message) or re.search(r"--([\w.-]+)", message)
        if match and (meant := meant_option(match[1], self.option_names())):
            shown.append(f"did you mean: {', '.join(meant)}?")
        shown.append(f"'gcvideo {self.verb} --help' lists the options")
        sys.stderr.write(printable("\n".join(shown)) + "\n")
        sys.exit(2)

    def option_names(self) -> list[str]:
        """Names of all options of the verb, such as "model.optim.lr_batch"."""
        subparsers = self._subcommands_action  # None in the parser of a verb
        parser = subparsers.choices[self.verb] if subparsers is not None else self
        names = [action.dest for action in parser._actions]
        return [name for name in names if name not in ("help", "config") and not name.endswith(".help")]

    def format_help(self, formatter: Any = None) -> str:
        return help_text(self.verb, self._actions)


def _causes(lines: Sequence[str]) -> list[str]:
    """The one line of jsonargparse's details that tells the cause.

    For a union of types, jsonargparse lists after "Errors:" what each of them says ("- Expected a <class 'int'>"), and
    the value in a line of its own. What is wrong with the name of a class may go on in the next line.
    """
    value = next((line.partition(": ")[2] for line in lines if line.startswith("Given value: ")), None)
    if value is None:
        telling = [line for line in lines if re.search(r"^Expected|line \d+, column|^Unable to load", line)] or lines
        return [_type_names(line).replace("Expected a ", "Expected ") for line in telling[-1:]]
    errors = list(lines)[lines.index("Errors:") + 1 :] if "Errors:" in lines else list(lines)
    for line, after in zip(errors, [*errors[1:], ""], strict=True):
        if line.startswith("- ") and not line.startswith("- Expected "):
            return [
                f"{line.removeprefix('- ')} {after}" if line.endswith(":") else f"{line.removeprefix('- ')}: {value}"
            ]
    types = [line.removeprefix("- Expected ").removeprefix("a ") for line in errors if line.startswith("- Expected ")]
    types = ["name of a class, with its package" if "import path" in name else name for name in types]
    names = dict.fromkeys(_type_names(name).partition(". Got value")[0] for name in types)
    return [f"Expected {' or '.join(names)}. Got value: {value}"]


def _type_names(text: str) -> str:
    """Python's names of types as a user of YAML knows them."""
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text).replace("NoneType", "null")
    return re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
