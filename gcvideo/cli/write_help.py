"""Write help/VERB.txt anew: python -m gcvideo.cli.write_help"""

import contextlib
import io
from pathlib import Path

from gcvideo.cli.help import DESCRIPTIONS
from gcvideo.cli.training import GcvideoCLI
from gcvideo.files import write_text


def generated_help(verb: str) -> str:
    """Help of a training verb from its parser."""
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        GcvideoCLI(verb, ["--help"])
    return output.getvalue()


if __name__ == "__main__":
    for verb in DESCRIPTIONS:
        write_text(Path(__file__).parent / "help" / f"{verb}.txt", generated_help(verb))
