"""The verbs that make data ready: `gcvideo prepare`, `check` and `download`.

Parsers need nothing but argparse, so that help and errors answer at once; what does the work is imported by `run_*`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gcvideo.cli.parser import SCHEDULER, Verb, as_usage_errors, positive_float, positive_int, verb_parser
from gcvideo.cli.splits import add_dealing, add_label_separator, parse_shares, print_split, split_options
from gcvideo.errors import UsageError
from gcvideo.terminal import printable

if TYPE_CHECKING:
    from gcvideo.dataset_tools.check import CheckSummary
    from gcvideo.dataset_tools.findings import Finding
    from gcvideo.dataset_tools.plan import Part
    from gcvideo.dataset_tools.summary import Summary

_SHOWN = 5
"""Findings of each kind that are printed."""


def prepare_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo prepare`."""
    from gcvideo.dataset_tools.options import ENCODERS, Encoding, PrepareOptions

    encoding, options = Encoding(), PrepareOptions()
    parser = verb_parser(
        "prepare",
        "Make raw videos ready for training: match them to the annotations, trim, scale, encode for fast "
        "decoding of clips, and verify the result. After an interruption, the same command resumes. See docs/data.md.",
    )
    parser.add_argument("raw", help="folder of raw videos, searched recursively")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument(
        "--annotations",
        nargs="+",
        default=[],
        metavar="FILE",
        help="CSV files of Kinetics, or the folder of UCF-101's or HMDB-51's lists; without it, RAW must be laid out "
        "as split/class/file or class/file",
    )
    parser.add_argument("--split_number", type=int, choices=(1, 2, 3), default=1, help="split of UCF-101 or HMDB-51")
    parser.add_argument("--short_side", type=int, default=encoding.short_side, help="pixels; never enlarges a video")
    parser.add_argument("--crf", type=int, default=encoding.crf, help="quality of x264: lower is better and larger")
    parser.add_argument("--preset", default=encoding.preset, help="preset of x264: slower is smaller")
    parser.add_argument(
        "--encoder",
        choices=ENCODERS,
        default=encoding.encoder,
        help="x264 of PyAV or of the ffmpeg executable; auto prefers PyAV",
    )
    _add_workers(parser)
    parser.add_argument(
        "--timeout_s", type=positive_float, default=options.timeout_s, help="time limit of a video, in seconds"
    )
    parser.add_argument(
        "--part",
        type=_part,
        default=options.part,
        metavar="K/N",
        help="prepare every N-th video from the K-th: for job arrays",
    )
    parser.add_argument("--merge", action="store_true", help="only combine what the parts have prepared")
    parser.add_argument("--retry", action="store_true", help="retry the videos that failed before")
    parser.add_argument(
        "--shards", type=positive_float, metavar="MB", help="also pack WebDataset shards of about MB megabytes"
    )
    parser.add_argument(
        "--split",
        type=parse_shares,
        metavar="TRAIN/VAL/TEST",
        help="deal the videos to these shares, such as 70/15/15, as `gcvideo split` does; for sets without splits",
    )
    add_dealing(parser)
    return parser


def run_prepare(args: argparse.Namespace) -> int:
    """`gcvideo prepare`. Exit status: 0 done, 1 some videos failed (known after the last part), 2 stopped."""
    from gcvideo.dataset_tools.options import Encoding, PrepareOptions
    from gcvideo.dataset_tools.pack import pack
    from gcvideo.dataset_tools.plan import make_plan
    from gcvideo.dataset_tools.prepare import merge, prepare

    with as_usage_errors(ValueError):
        encoding = Encoding(args.short_side, args.crf, args.preset, args.encoder)
    options = PrepareOptions(_workers(args), args.timeout_s, args.part, args.retry, scheduler=args.scheduler)
    dealing = None if args.split is None else split_options(args, args.split)
    if dealing is None and not (args.seed is args.group is args.group_pattern is args.label_separator is None):
        raise UsageError("--seed, --group, --group_pattern and --label_separator have no effect without --split")
    with as_usage_errors(OSError):
        plan = make_plan(args.raw, args.annotations, args.split_number)
        if dealing is not None and any(job.split for job in plan.jobs):
            raise UsageError(f"--split is for sets without splits, and {args.raw} has some: see `gcvideo split --of`")
        summary = merge(plan, args.out, encoding) if args.merge else prepare(plan, args.out, encoding, options)
        if summary is None:
            print(f"part {args.part} is done; when all are, run the same command with --merge")
            return 0
        _print_summary(summary, args.out)
        if dealing is not None:
            from gcvideo.dataset_tools.split import split_manifest

            manifest = Path(args.out) / "manifest.csv"
            print_split(split_manifest(manifest, manifest, dealing), dealing)
        if args.shards is not None:
            print(f"shards: {pack(Path(args.out), args.shards)}")
    return 1 if summary.failed else 0


def check_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo check`."""
    parser = verb_parser(
        "check",
        "Find what is wrong with a data set: broken, short, changed files, duplicates, sources or scenes in several "
        "splits, labels that contradict the path, unbalanced classes; and which decoder is accurate for which file.",
    )
    parser.add_argument("manifest", help="CSV file, list or folder, as for training")
    parser.add_argument("--root", help="folder that the paths are relative to; default: the folder of the manifest")
    parser.add_argument("--split", help="check only this split")
    add_label_separator(parser)
    parser.add_argument("--full", action="store_true", help="decode all frames instead of first, middle and last")
    parser.add_argument("--min_frames", type=int, default=8, help="report videos with fewer frames as short")
    parser.add_argument(
        "--out", help="folder for videos.csv, findings.csv, check.json and check.png; default: MANIFEST-check"
    )
    parser.add_argument(
        "--update", action="store_true", help="write num_frames, fps, width and height into the manifest"
    )
    _add_workers(parser)
    parser.add_argument("--timeout_s", type=positive_float, default=60.0, help="time limit for each video, in seconds")
    return parser


def run_check(args: argparse.Namespace) -> int:
    """`gcvideo check`. Exit status: 0 no errors found, 1 errors found, 2 could not run."""
    manifest = Path(args.manifest).resolve()
    if args.update and (manifest.suffix != ".csv" or args.split is not None):
        raise UsageError("--update needs a manifest that is a CSV file, and all of its splits")
    out = Path(args.out) if args.out else manifest.with_name(f"{manifest.stem}-check")

    from gcvideo.dataset_tools.check import examine_all, update_manifest, write_results
    from gcvideo.dataset_tools.entries import read_entries
    from gcvideo.dataset_tools.findings import find
    from gcvideo.dataset_tools.pool import open_pool

    with as_usage_errors(OSError):
        out.mkdir(parents=True, exist_ok=True)  # fail before the work, not after it
        root = args.root and Path(args.root).absolute()
        entries = read_entries(manifest, root, args.split, args.label_separator)
        if not entries:
            raise UsageError(f"{manifest}: no rows of split {args.split!r}")
        folder = os.path.dirname(entries[0].file)
        with open_pool(_workers(args), args.scheduler, folder) as pool:
            facts = examine_all(entries, args.full, pool, args.timeout_s)
        findings = find(entries, facts, args.min_frames)
        summary = write_results(out, entries, facts, findings)
        if args.update:
            update_manifest(manifest, entries, facts)
    _print_findings(summary, findings, out)
    return 1 if summary.errors else 0


def download_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo download`."""
    from gcvideo.dataset_tools.mirror import KINETICS, FetchOptions

    parser = verb_parser(
        "download",
        "Download Kinetics from its public mirror (CVDF) and unpack it. After an interruption, the same command "
        "resumes. Please observe the terms of the data sets.",
    )
    parser.add_argument("dataset", help="k400, k600, k700 (only annotations) or k700_2020")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument("--splits", nargs="+", help="such as train val test replacement; default: all")
    parser.add_argument("--mirror", help=f"URL that replaces {KINETICS}, with the same layout")
    parser.add_argument("--no_extract", action="store_true", help="do not unpack the archives")
    parser.add_argument("--remove", action="store_true", help="delete each archive after it is unpacked")
    parser.add_argument("--jobs", type=positive_int, default=FetchOptions.jobs, help="concurrent downloads")
    return parser


def run_download(args: argparse.Namespace) -> int:
    """`gcvideo download`. Exit status: 0 complete, 1 something failed, 2 could not run."""
    from gcvideo.dataset_tools.mirror import FetchOptions, fetch

    options = FetchOptions(args.mirror, extract=not args.no_extract, keep=not args.remove, jobs=args.jobs)
    with as_usage_errors(OSError):
        failed = fetch(args.dataset, args.out, args.splits, options)
    for failure in failed:
        print(printable(f"error: {failure}"), file=sys.stderr)
    print(f"{args.out}: {f'{len(failed)} failed; the same command retries them' if failed else 'complete'}")
    return 1 if failed else 0


VERBS = {
    "prepare": Verb(prepare_parser, run_prepare),
    "check": Verb(check_parser, run_check),
    "download": Verb(download_parser, run_download),
}


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=positive_int, help="number of processes; default: that of the cores")
    parser.add_argument("--scheduler", metavar="ADDRESS", help=SCHEDULER)


def _workers(args: argparse.Namespace) -> int:
    if args.workers is not None and args.scheduler is not None:
        raise UsageError("--workers has no effect with --scheduler: its workers decide")
    return args.workers or os.cpu_count() or 1


def _part(text: str) -> "Part":
    from gcvideo.dataset_tools.plan import Part

    number, _, count = text.partition("/")
    try:
        return Part(int(number), int(count))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected K/N with 1 <= K <= N, got {text!r}") from None


def _print_summary(summary: "Summary", out: str) -> None:
    official = " official" if summary.is_official else ""
    print(f"{summary.present} of {summary.listed}{official} videos are prepared in {out}")
    for split, coverage in summary.splits.items():
        print(f"  {split or 'all'}: {coverage.present} of {coverage.listed}")
    print(
        f"missing: {summary.missing}; failed: {summary.failed}; raw files rejected: {summary.rejected_files}, "
        f"not in the annotations: {summary.unlisted_files}"
    )
    print(f"{out}/: manifest.csv, classes.txt, failures.csv, summary.json")


def _print_findings(summary: "CheckSummary", findings: "Sequence[Finding]", out: Path) -> None:
    for kind, count in summary.findings.items():
        print(f"{kind:13s} {count}")
        for finding in [finding for finding in findings if finding.kind == kind][:_SHOWN]:
            print(printable(f"    {finding.name}: {finding.text}"))
        if count > _SHOWN:
            print(f"    ... and {count - _SHOWN} more")
    if set(summary.classes) == {""}:
        print("no splits: training needs them, and 'gcvideo split' makes them")
    print(f"{summary.videos} videos; decoders accurate for:")
    for decoder, use in summary.decoders.items():
        print(f"    {decoder:10s} {use.accurate}")
        for reason, count in use.faults.items():
            print(printable(f"        not for {count}: {reason}"))
    print(f"{out}/: videos.csv, findings.csv, check.json, check.png")
