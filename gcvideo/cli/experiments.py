"""The verbs that compare: `gcvideo sweep` variants over seeds, `gcvideo report` runs that have been tested."""

import argparse
from pathlib import Path

from gcvideo.cli.parser import SCHEDULER, Verb, as_usage_errors, positive_float, positive_int, verb_parser
from gcvideo.terminal import printable


def sweep_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo sweep`."""
    parser = verb_parser(
        "sweep",
        "Fit and test variants of one configuration over several seeds, and compare them in one table. A stopped sweep "
        "resumes with the same command. Writes runs.csv, table.csv, table.md, plot.png and report.html.",
    )
    parser.add_argument("file", help="sweep file; see docs/training.md")
    parser.add_argument("--trust", default="", metavar="PACKAGES", help="packages whose code the files may name: a,b")
    parser.add_argument(
        "--jobs",
        type=positive_int,
        help="runs at a time, for small models on CPUs; default: 1, with --scheduler what its workers take",
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help=SCHEDULER)
    parser.add_argument(
        "--grace_s",
        type=positive_float,
        default=60.0,
        help="seconds that runs have to save their state when the sweep is stopped",
    )
    return parser


def run_sweep(args: argparse.Namespace) -> int:
    """`gcvideo sweep`; the exit status is 1 if a run failed."""
    from gcvideo.sweep.file import read_sweep
    from gcvideo.sweep.run import run_sweep as run

    sweep = read_sweep(args.file, args.trust)
    failed = run(sweep, args.jobs, args.grace_s, args.scheduler)
    table = sweep.folder / "table.md"
    if table.exists():
        print(table.read_text(encoding="utf-8"), end="")
    print(f"{sweep.folder}/: runs.csv, table.csv, table.md, plot.png, report.html")
    return 1 if failed else 0


def report_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo report`."""
    parser = verb_parser(
        "report",
        "Compare runs that were tested on the same videos: accuracies with intervals, significance of the differences "
        "(McNemar's exact test), curves, classes, and the videos on which they differ. Writes report.html and "
        "report.json.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder or name of a run; the first is the baseline")
    parser.add_argument("--runs_dir", default="runs", metavar="FOLDER", help="folder of all runs")
    parser.add_argument("--split", help="compare the tests of this split, report-SPLIT.json; default: report.json")
    parser.add_argument("--out", metavar="FOLDER", help="where to write; default: comparison in the folder of all runs")
    return parser


def run_report(args: argparse.Namespace) -> int:
    """`gcvideo report`."""
    from gcvideo.comparison.comparison import compare_runs
    from gcvideo.comparison.page import accuracy_table, difference_table, write_comparison

    runs_dir = Path(args.runs_dir)
    folders = [Path(name) if Path(name).is_dir() else runs_dir / name for name in args.runs]
    comparison = compare_runs(folders, args.split)
    out = Path(args.out) if args.out else runs_dir / "comparison"
    with as_usage_errors(OSError):
        write_comparison(comparison, out)
    print(printable(accuracy_table(comparison.runs).markdown()))
    print(printable(difference_table(comparison).markdown()), end="")
    print(f"{len(comparison.videos)} videos on which they differ: {out / 'report.html'}")
    return 0


VERBS = {"sweep": Verb(sweep_parser, run_sweep), "report": Verb(report_parser, run_report)}
