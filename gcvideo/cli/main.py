"""The command line `gcvideo`. Only what a verb needs is imported, so that help answers at once."""

import sys
from collections.abc import Callable, Sequence
from functools import partial

from gcvideo import __version__
from gcvideo.cli.parser import verb_parser

_HELP = """\
usage: gcvideo VERB [options]

Video recognition with Global Context blocks.

  fit       train a model on the videos of a manifest:  gcvideo fit --config configs/demo.yaml
  validate  one centre view of each validation video
  test      many views of each test video; writes report.json and report.html
  predict   print the labels of a video or a folder:    gcvideo predict --name demo --data.predict clip.mp4
  sweep     compare variants over seeds:                gcvideo sweep configs/sweeps/relations.yaml
  export    weights under other projects' names:        gcvideo export best.ckpt out.pyth --layout pyslowfast
  table     parameters and MACs beside the published:   gcvideo table --markdown
  download  Kinetics from its public mirror:            gcvideo download k400 raw/k400
  prepare   raw videos to a training-ready set:         gcvideo prepare raw/k400 data/k400 --annotations val.csv
  check     find what is wrong with a data set:         gcvideo check data/k400/manifest.csv
  synth     write a labelled set of synthetic videos:   gcvideo synth data/synthetic

'gcvideo VERB --help' lists the options of a verb. fit, validate, test and predict take what users of Lightning know:
--config FILE, --print_config, --ckpt_path FILE|last|best, --trainer.max_epochs 8, --model.lr 0.1, --data.batch_size 16.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0 if args else 2
    if args[0] == "--version":
        print(f"gcvideo {__version__}")
        return 0
    if args[0] in _VERBS:
        return _VERBS[args[0]](args[1:])
    if args[0] not in ("fit", "validate", "test", "predict"):
        wanted = ", ".join(("fit", "validate", "test", "predict", *_VERBS))
        print(f"error: no verb {args[0]!r}; wanted one of {wanted}", file=sys.stderr)
        return 2
    from gcvideo.cli.training import run

    return run(args)


def _synth(args: Sequence[str]) -> int:
    parser = verb_parser(
        "synth",
        "Write H.264 videos of two objects whose relation is the class, and a manifest.",
    )
    parser.add_argument("out", help="folder to write into")
    parser.add_argument("--train", type=int, default=1500, help="number of training videos")
    parser.add_argument("--val", type=int, default=120, help="number of validation videos")
    parser.add_argument("--test", type=int, default=300, help="number of test videos")
    parser.add_argument("--frames", type=int, default=20, help="frames of a video")
    parser.add_argument("--size", type=int, default=64, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal files")
    parser.add_argument("--workers", type=int, default=None, help="processes; one for each core if not given")
    given = parser.parse_args(args)

    from gcvideo.dataset_tools.synthetic import write_dataset

    counts = {"train": given.train, "val": given.val, "test": given.test}
    try:
        manifest = write_dataset(given.out, counts, given.frames, given.size, given.seed, given.workers)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{sum(counts.values())} videos; manifest: {manifest}")
    return 0


def _sweep(args: Sequence[str]) -> int:
    parser = verb_parser(
        "sweep",
        "Fit and test variants of one configuration over several seeds, and compare them in one table. A "
        "stopped sweep goes on where it was. Writes runs.csv, table.csv, table.md and plot.png.",
    )
    parser.add_argument("file", help="sweep file; see docs/training.md")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, for small models on CPUs")
    given = parser.parse_args(args)
    if given.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {given.jobs}")

    from gcvideo.errors import UsageError
    from gcvideo.sweep.file import read_sweep
    from gcvideo.sweep.run import run_sweep

    try:
        sweep = read_sweep(given.file)
        failed = run_sweep(sweep, given.jobs)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    table = sweep.folder / "table.md"
    if table.exists():
        print(table.read_text(encoding="utf-8"), end="")
    print(f"{sweep.folder}/: runs.csv, table.csv, table.md, plot.png")
    return 1 if failed else 0


def _table(args: Sequence[str]) -> int:
    parser = verb_parser(
        "table",
        "Count parameters and multiply-accumulates of networks with and without blocks, beside the "
        "figures that GCNet publishes for the slow-only ResNet-50.",
    )
    parser.add_argument("--network", default="slowonly_r50", help="name of the network")
    parser.add_argument("--contexts", nargs="+", help="rows; the paper's five if not given", default=None)
    parser.add_argument("--frames", type=int, default=8, help="frames of a clip")
    parser.add_argument("--size", type=int, default=224, help="height and width of a clip")
    parser.add_argument("--classes", type=int, default=400, help="classes")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    given = parser.parse_args(args)
    if min(given.frames, given.size) < 1:
        parser.error(f"--frames and --size must be at least 1, got {given.frames} and {given.size}")

    from gcvideo.analysis.table import ROWS, as_json, as_text, complexity_table

    try:
        table = complexity_table(given.network, given.blocks or ROWS, given.frames, given.size, given.classes)
    except (ValueError, RuntimeError) as error:  # RuntimeError: a clip too small for the strides
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(as_json(table) if given.json else as_text(table, given.markdown), end="")
    return 0


def _export(args: Sequence[str]) -> int:
    parser = verb_parser(
        "export",
        "Write the weights of a checkpoint under the names of another project.",
    )
    parser.add_argument("checkpoint", help="checkpoint of a run, such as runs/demo/checkpoints/best.ckpt")
    parser.add_argument("out", help="file to write")
    parser.add_argument("--layout", choices=("pytorchvideo", "pyslowfast"), default="pytorchvideo", help="whose names")
    given = parser.parse_args(args)

    from gcvideo.cli.training import RunError, load_task
    from gcvideo.models import WeightsError, export_weights

    try:
        export_weights(load_task(given.checkpoint).net, given.out, given.layout)
    except (RunError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.out}: {given.layout}")
    return 0


def _data_verb(args: Sequence[str], verb: str) -> int:
    from gcvideo.cli import datasets as command

    return int(getattr(command, f"{verb}_command")(args))


_VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "export": _export,
    "sweep": _sweep,
    "synth": _synth,
    "table": _table,
    **{verb: partial(_data_verb, verb=verb) for verb in ("prepare", "check", "download")},
}

if __name__ == "__main__":
    sys.exit(main())
