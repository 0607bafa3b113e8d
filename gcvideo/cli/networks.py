"""The verbs about networks and their weights: `gcvideo table` and `export`."""

import argparse
from pathlib import Path

from gcvideo.cli.parser import Verb, positive_int, verb_parser
from gcvideo.errors import UsageError


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


# Suffix of the file -> format, where --format does not say it.
_FORMAT_OF = {".onnx": "onnx", ".pt2": "torch", ".safetensors": "package", ".pyth": "pytorchvideo"}


def export_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo export`."""
    parser = verb_parser(
        "export",
        "Write a trained model as a file for other programs. ONNX and torch.export files have the normalisation, the "
        "softmax or sigmoids and the class names inside, and are compared with the model before they are written.",
    )
    parser.add_argument("source", help="folder of a run, or a checkpoint, such as runs/demo/checkpoints/best.ckpt")
    parser.add_argument("out", help="file to write; with --format hub a folder")
    parser.add_argument(
        "--format",
        # The keys of `FORMATS`, spelled out: to import them would import torch.
        choices=("onnx", "torch", "package", "hub", "pytorchvideo", "pyslowfast"),
        help="onnx (.onnx), torch (.pt2), package (.safetensors, for gcvideo.load), hub (a folder for the Hugging Face "
        "Hub), or weights alone under the names of pytorchvideo or pyslowfast; default: by the suffix of the file, "
        "pytorchvideo for .pyth",
    )
    return parser


def run_export(args: argparse.Namespace) -> int:
    """`gcvideo export`."""
    format = args.format or _FORMAT_OF.get(Path(args.out).suffix.lower())
    if format is None:
        raise UsageError(f"expected --format, or a file {', '.join(_FORMAT_OF)}, got {args.out}")
    from gcvideo.exporting import export
    from gcvideo.recognition import load

    print(f"{args.out}: {format}; {export(load(args.source, 'cpu'), args.out, format)}")
    return 0


VERBS = {"table": Verb(table_parser, run_table), "export": Verb(export_parser, run_export)}
