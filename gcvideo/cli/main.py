"""The command line `gcvideo`. Only what a verb needs is imported, so that help answers at once."""

import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from gcvideo import __version__, processes
from gcvideo.cli import analysis, completion, datasets, experiments, networks, predict, relations, serve, splits
from gcvideo.cli.help import DESCRIPTIONS, stored_help
from gcvideo.cli.parser import Verb
from gcvideo.cli.suggestions import meant_verb
from gcvideo.errors import GcvideoError
from gcvideo.garbage import imports_that_stay
from gcvideo.terminal import printable, printable_warnings

_HELP = """\
usage: gcvideo VERB [options]

Video recognition with Global Context blocks.

  fit       train a model on the videos of a manifest:  gcvideo fit --config configs/demo.yaml
  doctor    what is wrong with a training, before:      gcvideo doctor --config configs/demo.yaml
  validate  one centre view of each validation video
  test      many views of each test video; writes report.json and report.html
  predict   labels of videos, or a timeline of one:     gcvideo predict clip.mp4 --name demo
  analyze   what blocks depend on and attend to:        gcvideo analyze --name demo
  attend    attention and Grad-CAM over a video:        gcvideo attend clip.mp4 --name demo
  serve     a page to try a model in the browser:       gcvideo serve --name demo
  sweep     compare variants over seeds:                gcvideo sweep configs/sweeps/relations.yaml
  report    compare runs tested on the same videos:     gcvideo report runs/a runs/b
  export    ONNX, torch.export, a package to share:     gcvideo export runs/demo demo.onnx
  table     parameters and MACs next to the published:  gcvideo table --markdown
  download  Kinetics from its public mirror:            gcvideo download k400 raw/k400
  prepare   raw videos to a training-ready set:         gcvideo prepare raw/k400 data/k400 --annotations val.csv
  split     train, val and test parts of your videos:   gcvideo split my/clips my/manifest.csv
  check     find what is wrong with a data set:         gcvideo check data/k400/manifest.csv
  synth     synthetic videos, classes are relations:    gcvideo synth data/synthetic
  completion verbs and options in the shell:           eval "$(gcvideo completion bash)"
  pairs     the same of two real clips side by side:    gcvideo pairs data/ucf/manifest.csv data/pairs --first ...

'gcvideo VERB --help' lists the options of a verb. fit, validate and test take what users of Lightning know:
--config FILE, --print_config, --ckpt_path FILE|last|best|auto, --trainer.max_epochs 8, --model.lr 0.1.
"""

_DOCTOR_HELP = """\
usage: gcvideo doctor [options of fit]

Examines a training before it starts: versions, devices, a sample of the videos, the manifest against the classes, the
effective batch and its learning rate, memory and time of a step against the loader, disks and shared memory. Nothing is
written. The exit status is 1 if there is a problem. 'gcvideo fit --help' lists the options.
"""

TRAINING_VERBS = tuple(DESCRIPTIONS)
"""They read their arguments by LightningCLI; see `cli.training`."""

VERBS: dict[str, Verb] = {
    **predict.VERBS,
    **serve.VERBS,
    **experiments.VERBS,
    **analysis.VERBS,
    **networks.VERBS,
    **datasets.VERBS,
    **splits.VERBS,
    **relations.VERBS,
    **completion.VERBS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    processes.may_end = argv is None  # the process is ours, and not one that calls this function
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0 if args else 2  # as argparse: 2 for a usage error
    if args[0] == "--version":
        print(f"gcvideo {__version__}")
        return 0
    try:
        with printable_warnings():
            return _run(args[0], args[1:])
    except GcvideoError as error:
        if not error.is_told:
            print(f"error: {printable(error.prefix + message_of(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return 130  # 128 + SIGINT, the shell's convention


def _run(verb: str, args: list[str]) -> int:
    if verb in TRAINING_VERBS and args in (["-h"], ["--help"]):
        print(stored_help(verb), end="")
        return 0
    lasting = imports_that_stay if processes.may_end else nullcontext  # not for a program that calls `main`
    if verb == "doctor":
        if args in (["-h"], ["--help"]):
            print(_DOCTOR_HELP, end="")
            return 0
        with lasting():
            from gcvideo.cli.doctor import run as examine

        return examine(args)
    if verb in TRAINING_VERBS:
        with lasting():
            from gcvideo.cli.training import run

        return run(verb, args)
    if verb not in VERBS:
        verbs = (*TRAINING_VERBS, "doctor", *VERBS)
        meant = meant_verb(verb, verbs)
        hint = f"did you mean: {', '.join(meant)}?" if meant else f"expected one of {', '.join(verbs)}"
        print(printable(f"error: no verb {verb!r}; {hint}"), "'gcvideo --help' lists them", sep="\n", file=sys.stderr)
        return 2
    return VERBS[verb].run(VERBS[verb].parser().parse_args(args))


def message_of(error: GcvideoError) -> str:
    """Message of an error; of one raised in a loader process, without the traceback that torch puts in front."""
    text = str(error).strip()
    if "Original Traceback" not in text:
        return text
    # The last line of a traceback is the error itself, "module.ClassError: message".
    return re.sub(r"^gcvideo[.][.a-z_]+[.][A-Z][A-Za-z]+Error: ", "", text.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
