"""The verbs about networks and their weights: `gcvideo table` and `export`."""

import argparse

from gcvideo.cli.parser import Verb, verb_parser
from gcvideo.errors import UsageError


def table_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo table`."""
    parser = verb_parser(
        "table",
        "Count parameters and multiply-accumulates of networks with and without blocks, next to the figures that GCNet "
        "publishes for the slow-only ResNet-50.",
    )
    parser.add_argument("--network", default="slowonly_r50", help="name of the network")
    parser.add_argument("--blocks", nargs="+", help="rows (default: the paper's five)", default=None)
    parser.add_argument("--frames", type=int, default=8, help="frames of a clip")
    parser.add_argument("--size", type=int, default=224, help="height and width of a clip")
    parser.add_argument("--classes", type=int, default=400, help="classes")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    return parser


def run_table(args: argparse.Namespace) -> int:
    """`gcvideo table`."""
    if min(args.frames, args.size) < 1:
        raise UsageError(f"--frames and --size must be at least 1, got {args.frames} and {args.size}")
    from gcvideo.analysis.table import ROWS, as_json, as_text, complexity_table

    try:
        table = complexity_table(args.network, args.blocks or ROWS, args.frames, args.size, args.classes)
    except (ValueError, RuntimeError) as error:  # RuntimeError: a clip too small for the strides
        raise UsageError(str(error)) from error
    print(as_json(table) if args.json else as_text(table, args.markdown), end="")
    return 0


def export_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo export`."""
    parser = verb_parser("export", "Write the weights of a checkpoint under the names of another project.")
    parser.add_argument("checkpoint", help="checkpoint of a run, such as runs/demo/checkpoints/best.ckpt")
    parser.add_argument("out", help="file to write")
    parser.add_argument("--layout", choices=("pytorchvideo", "pyslowfast"), default="pytorchvideo", help="whose names")
    return parser


def run_export(args: argparse.Namespace) -> int:
    """`gcvideo export`."""
    from gcvideo.models import export_weights
    from gcvideo.training.checkpoint import load_task

    export_weights(load_task(args.checkpoint).net, args.out, args.layout)
    print(f"{args.out}: {args.layout}")
    return 0


VERBS = {"table": Verb(table_parser, run_table), "export": Verb(export_parser, run_export)}
