"""The verbs that make data ready: `gcvideo prepare`, `check` and `download`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gcvideo.cli.parser import verb_parser


def prepare_command(args: Sequence[str]) -> int:
    """`gcvideo prepare`; the exit status: 0 done, 1 some videos failed (told with the last shard), 2 it stopped."""
    parser = verb_parser(
        "prepare",
        "Make raw videos ready for training: matched to the official annotations, trimmed, scaled, encoded "
        "so that clips decode fast, verified. A stopped run goes on with the same command. See docs/data.md.",
    )
    add = parser.add_argument
    add("raw", help="folder of raw videos; searched as a whole")
    add("out", help="folder to write into")
    add(
        "--annotations", nargs="+", default=[], metavar="FILE",
        help="Kinetics' CSV files, or the folder of UCF-101's or HMDB-51's lists; without, raw is split/class/file or "
        "class/file",
    )  # fmt: skip
    add("--split_number", type=int, choices=(1, 2, 3), default=1, help="which split of UCF-101 or HMDB-51")
    add("--short_side", type=int, default=256, help="pixels of the short side; smaller videos stay as they are")
    add("--crf", type=int, default=20, help="x264's quality: lower is better and larger")
    add("--preset", default="medium", help="x264's preset: slower is smaller")
    add("--encoder", choices=("auto", "pyav", "ffmpeg"), default="auto", help="PyAV's x264 or the program ffmpeg")
    add("--workers", type=int, default=os.cpu_count(), help="processes")
    add("--timeout_s", type=float, default=600.0, help="seconds for one video")
    add("--shard", default="1/1", metavar="K/N", help="do every N-th video from the K-th: one task of a job array")
    add("--merge", action="store_true", help="do nothing but join what the shards have done")
    add("--retry", action="store_true", help="try again what failed before")
    add("--shards", type=float, metavar="MB", help="also pack WebDataset shards of about so many megabytes")
    given = parser.parse_args(args)
    shard = _shard(parser, given.shard)
    if given.workers < 1 or given.timeout_s <= 0 or (given.shards is not None and given.shards <= 0):
        parser.error("--workers, --timeout_s and --shards must be positive")

    from gcvideo.dataset_tools.journal import PrepareError
    from gcvideo.dataset_tools.pack import pack
    from gcvideo.dataset_tools.prepare import prepare
    from gcvideo.dataset_tools.sources import SourceError, make_plan
    from gcvideo.dataset_tools.transcode import Encoding

    try:
        plan = make_plan(given.raw, given.annotations, given.split_number)
        encoding = Encoding(given.short_side, given.crf, given.preset, given.encoder)
        summary = prepare(
            plan, given.raw, given.out, encoding, given.workers, given.timeout_s, shard, given.retry, given.merge
        )
        if summary is None:
            print(f"shard {given.shard} is done; when all are, run the same command with --merge")
            return 0
        _tell(summary, given.out)
        if given.shards is not None:
            print(f"shards: {pack(Path(given.out), given.shards)}")
    except (SourceError, PrepareError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 1 if summary["failed"] else 0


def check_command(args: Sequence[str]) -> int:
    """`gcvideo check`; the exit status: 0 nothing that forbids use, 1 errors were found, 2 can't begin."""
    parser = verb_parser(
        "check",
        "Find what is wrong with a data set: broken, short and changed files, the same content twice, one "
        "source in several splits, labels that the path contradicts, classes out of balance; and which decoder reads "
        "each file right.",
    )
    add = parser.add_argument
    add("manifest", help="CSV file, list or folder, as for training")
    add("--root", help="folder that the paths are relative to; the manifest's own if not given")
    add("--split", help="check this split alone")
    add("--full", action="store_true", help="decode every frame, not the first, the middle and the last")
    add("--min_frames", type=int, default=8, help="a video with fewer is short")
    add("--out", help="folder for videos.csv, findings.csv, check.json, check.png; MANIFEST's name + '-check' else")
    add("--update", action="store_true", help="write num_frames, fps, width, height and decoder into the manifest")
    add("--workers", type=int, default=os.cpu_count(), help="processes")
    add("--timeout_s", type=float, default=60.0, help="seconds for one video")
    given = parser.parse_args(args)
    manifest = Path(given.manifest).resolve()
    out = Path(given.out) if given.out else manifest.with_name(f"{manifest.stem}-check")
    if given.workers < 1 or given.timeout_s <= 0:
        parser.error(f"--workers and --timeout_s must be positive, got {given.workers} and {given.timeout_s}")
    if given.update and (manifest.suffix != ".csv" or given.split is not None):
        parser.error("--update wants a manifest that is a CSV file, and all of its splits")

    from gcvideo.data.listing import ManifestError
    from gcvideo.dataset_tools.check import examine_all, find, read_entries, update_manifest, write_results

    try:
        out.mkdir(parents=True, exist_ok=True)  # before the work, not behind it
        entries = read_entries(manifest, given.root and Path(given.root), given.split)
        if not entries:
            raise ManifestError(f"{manifest}: no rows of split {given.split!r}")
        facts = examine_all(entries, given.full, given.workers, given.timeout_s)
    except (ManifestError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    found = find(entries, facts, given.min_frames)
    summary = write_results(out, entries, facts, found)
    if given.update:
        update_manifest(manifest, entries, facts)
    _tell_findings(summary, found, out)
    return 1 if summary["errors"] else 0


def download_command(args: Sequence[str]) -> int:
    """`gcvideo download`; the exit status: 0 all is there, 1 something failed, 2 can't begin."""
    parser = verb_parser(
        "download",
        "Download Kinetics from its public mirror (CVDF's) and unpack it. A stopped download goes on with "
        "the same command. Please observe the terms of the data sets.",
    )
    add = parser.add_argument
    add("dataset", help="k400, k600, k700 (annotations alone) or k700_2020")
    add("out", help="folder to write into")
    add("--splits", nargs="+", help="such as train val test replacement; all if not given")
    add("--mirror", help="address in place of https://s3.amazonaws.com/kinetics, with the same layout")
    add("--no_extract", action="store_true", help="leave the archives packed")
    add("--remove", action="store_true", help="remove an archive when it is unpacked")
    add("--jobs", type=int, default=2, help="downloads at a time")
    given = parser.parse_args(args)
    if given.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {given.jobs}")

    from gcvideo.dataset_tools.mirror import fetch

    try:
        failed = fetch(
            given.dataset, given.out, given.splits, given.mirror, not given.no_extract, not given.remove, given.jobs
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    for failure in failed:
        print(f"error: {failure}", file=sys.stderr)
    print(
        f"{given.out}: {'all is there' if not failed else f'{len(failed)} failed; the same command tries them again'}"
    )
    return 1 if failed else 0


def _tell_findings(summary: dict[str, Any], found: Sequence[Any], out: Path) -> None:
    for kind, count in summary["findings"].items():
        print(f"{kind:12s} {count}")
        for finding in [finding for finding in found if finding.kind == kind][:5]:
            print(f"    {finding.name}: {finding.text}")
        if count > 5:
            print(f"    ... and {count - 5} more")
    print(f"{summary['videos']} videos; read by:")
    for choice, count in sorted(summary["decoders"].items(), key=lambda pair: -pair[1]):
        print(f"    {count} {choice}")
    print(f"{out}/: videos.csv, findings.csv, check.json, check.png")


def _shard(parser: argparse.ArgumentParser, text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not ((number + count).isascii() and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        parser.error(f"--shard must be K/N with 1 <= K <= N, got {text!r}")
    return int(number), int(count)


def _tell(summary: dict[str, Any], out: str) -> None:
    print(f"{summary['present']} of {summary['official']} official videos are prepared in {out}")
    for split, counts in summary["splits"].items():
        print(f"  {split or 'all'}: {counts['present']} of {counts['official']}")
    print(
        f"missing: {summary['missing']}; failed: {summary['failed']}; raw files not taken: "
        f"{summary['rejected_files']}, not in the annotations: {summary['unlisted_files']}"
    )
    print(f"{out}/: manifest.csv, classes.txt, failures.csv, summary.json")
