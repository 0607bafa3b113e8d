"""The verbs about networks and their weights: `gcvideo table` and `export`."""

import argparse

from gcvideo.cli.parser import Verb, positive_int, verb_parser


def table_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo table`."""
    parser = verb_parser(
        "table",
        "Count parameters and multiply-accumulates of networks with and without blocks, next to the figures that GCNet "
        "publishes for the slow-only ResNet-50. Without options, it is GCNet's table.",
    )
    parser.add_argument("--network", help="name of the network")
    parser.add_argument("--blocks", nargs="+", help="rows of the table")
    parser.add_argument("--frames", type=positive_int, help="frames of a clip")
    parser.add_argument("--size", type=positive_int, help="height and width of a clip")
    parser.add_argument("--classes", type=positive_int, help="number of classes")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    return parser


def run_table(args: argparse.Namespace) -> int:
    """`gcvideo table`."""
    from gcvideo.analysis.table import as_json, as_text, complexity_table

    # Those that are None are left out below: the defaults are `complexity_table`'s.
    options = {
        "network": args.network,
        "blocks": args.blocks,
        "frames": args.frames,
        "size": args.size,
        "num_classes": args.classes,
    }
    table = complexity_table(**{name: value for name, value in options.items() if value is not None})
    print(as_json(table) if args.json else as_text(table, args.markdown), end="")
    return 0


def export_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo export`."""
    parser = verb_parser("export", "Write the weights of a checkpoint under the names of another project.")
    parser.add_argument("checkpoint", help="checkpoint of a run, such as runs/demo/checkpoints/best.ckpt")
    parser.add_argument("out", help="file to write")
    # The keys of `EXPORTS`, spelled out: to import them would import torch.
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
