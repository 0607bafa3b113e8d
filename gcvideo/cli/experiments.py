"""The verb that compares variants: `gcvideo sweep`."""

import argparse

from gcvideo.cli.parser import SCHEDULER, Verb, positive_float, positive_int, verb_parser


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


VERBS = {"sweep": Verb(sweep_parser, run_sweep)}
