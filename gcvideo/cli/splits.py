"""The verb that makes splits, `gcvideo split`, and what `gcvideo prepare --split` shares with it.

Parsers need nothing but argparse, so that help and errors answer at once; what does the work is imported by `run_*`.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gcvideo.cli.parser import Verb, as_usage_errors, verb_parser
from gcvideo.terminal import printable

if TYPE_CHECKING:
    from gcvideo.dataset_tools.dealing import Shares
    from gcvideo.dataset_tools.split import SplitOptions, SplitSummary

_CLASSES_SHOWN = 30
"""Up to this number of classes, the numbers of each are printed."""


def split_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo split`."""
    parser = verb_parser(
        "split",
        "Deal the videos of a manifest or a folder class/file to train, val and test: every class in proportion, the "
        "videos of a group (a source that several of them come from) to one part. Equal arguments give equal parts. "
        "See docs/data.md.",
    )
    parser.add_argument("manifest", help="CSV file, list or folder")
    parser.add_argument("out", help="CSV file to write, with all columns of the manifest; may be the manifest itself")
    parser.add_argument(
        "--parts",
        type=parse_shares,
        default="70/15/15",
        metavar="TRAIN/VAL/TEST",
        help="proportions, such as 80/20/0",
    )
    add_dealing(parser)
    parser.add_argument(
        "--of", nargs="+", default=[], metavar="SPLIT", help="deal only the rows of these splits; the others stay"
    )
    parser.add_argument("--root", help="folder that the paths are relative to; default: the folder of the manifest")
    return parser


def run_split(args: argparse.Namespace) -> int:
    """`gcvideo split`: the new manifest on stdout, numbers of videos on stderr."""
    from gcvideo.dataset_tools.split import split_manifest

    options = split_options(args, args.parts)
    with as_usage_errors(OSError):
        summary = split_manifest(Path(args.manifest), Path(args.out), options, args.root and Path(args.root))
    print_split(summary, options)
    print(args.out)
    return 0


VERBS = {"split": Verb(split_parser, run_split)}


def add_dealing(parser: argparse.ArgumentParser) -> None:
    """The options of how videos are dealt, except the shares."""
    parser.add_argument("--seed", type=int, help="another seed deals otherwise; default: 0")
    parser.add_argument(
        "--group", metavar="COLUMN", help="column that names the source of a video; default: `group`, if there is one"
    )
    add_label_separator(parser)
    parser.add_argument(
        "--group_pattern",
        metavar="REGEX",
        help="find the source in the name of the file instead: what the one group in brackets matches, such as "
        "'v_(.+_g\\d+)_c' for UCF-101; written as the column `group`",
    )


def add_label_separator(parser: argparse.ArgumentParser) -> None:
    """The option of manifests whose videos may have several labels."""
    parser.add_argument(
        "--label_separator", metavar="TEXT", help="of the labels in a cell, where videos may have several or none: '|'"
    )


def split_options(args: argparse.Namespace, shares: "Shares") -> "SplitOptions":
    """Those of `add_dealing`, and of `gcvideo split` alone, as they were parsed."""
    from gcvideo.dataset_tools.split import SplitOptions

    of, separator = getattr(args, "of", ()), args.label_separator
    return SplitOptions(shares, args.seed or 0, args.group, args.group_pattern, of, separator)


def parse_shares(text: str) -> "Shares":
    """`type` of an argument: "70/15/15"."""
    from gcvideo.dataset_tools.dealing import Shares

    numbers = text.split("/")
    try:
        train, val, test = map(int, numbers)
        return Shares(train, val, test)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected TRAIN/VAL/TEST in whole numbers, train and another one above 0, such as 70/15/15, got {text!r}"
        ) from None


def print_split(summary: "SplitSummary", options: "SplitOptions") -> None:
    """Numbers of videos, by class and split, and what to know about them, on stderr."""
    from gcvideo.dataset_tools.dealing import NO_CLASS, PARTS

    counts = summary.counts
    splits = sorted(next(iter(counts.values())), key=lambda split: (*PARTS, split).index(split))
    rows = counts if len(counts) <= _CLASSES_SHOWN else {}
    width = max(map(len, ("class", *rows)))
    lines = [f"{'class':{width}}" + "".join(f"{split or 'none':>8}" for split in splits)]
    rows = rows | {"all": {split: summary.totals.get(split, 0) for split in splits}}
    lines += [
        f"{label:{width}}" + "".join(f"{numbers[split]:>8}" for split in splits) for label, numbers in rows.items()
    ]
    for part in options.shares.positive():
        lacking = [label for label in counts if not counts[label].get(part) and label != NO_CLASS]
        if lacking:
            shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            lines.append(f"warning: too few sources for a video in {part}: {shown}")
    lines.append(f"{summary.num_groups} groups of several videos, each in one part")
    if summary.torn:
        lines.append(
            f"warning: by the names of the files, {len(summary.torn)} sources are in several parts, such as "
            f"{summary.torn[0]}: name their groups with --group_pattern"
        )
    if summary.root is not None:
        lines.append(f"the videos do not lie below the new manifest: train with --data.root {summary.root}")
    print(printable("\n".join(lines)), file=sys.stderr)
