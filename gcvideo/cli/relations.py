"""The verbs that write videos whose class is a relation: `gcvideo synth` and `pairs`."""

import argparse
from typing import get_args

from gcvideo.cli.parser import Verb, as_usage_errors, positive_int, verb_parser


def synth_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo synth`."""
    from gcvideo.dataset_tools.scene import NUM_FRAMES, SIZE
    from gcvideo.dataset_tools.synthetic import Task

    parser = verb_parser("synth", "Write H.264 videos of two bands whose relation is the class, and a manifest.")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument(
        "--task",
        choices=get_args(Task),
        default="relation",
        help="what the classes are: gait x relation of two directions, or gait x direction (for a trunk)",
    )
    parser.add_argument("--train", type=int, default=1200, help="number of training videos")
    parser.add_argument("--val", type=int, default=120, help="number of validation videos")
    parser.add_argument("--test", type=int, default=300, help="number of test videos")
    parser.add_argument("--frames", type=int, default=NUM_FRAMES, help="frames per video")
    parser.add_argument("--size", type=int, default=SIZE, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal files")
    parser.add_argument("--workers", type=positive_int, help="number of processes; default: one per core")
    return parser


def run_synth(args: argparse.Namespace) -> int:
    """`gcvideo synth`."""
    from gcvideo.dataset_tools.synthetic import write_dataset

    counts = {"train": args.train, "val": args.val, "test": args.test}
    with as_usage_errors(OSError, ValueError):
        manifest = write_dataset(args.out, counts, args.frames, args.size, args.seed, args.workers, args.task)
    print(f"{sum(counts.values())} videos; manifest: {manifest}")
    return 0


def pairs_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo pairs`."""
    from gcvideo.dataset_tools.options import PairOptions

    parser = verb_parser(
        "pairs",
        "Write videos that show two clips side by side, and a manifest; the class is whether both are of the same kind "
        "of action or of different kinds.",
    )
    parser.add_argument("manifest", help="manifest of the clips, with splits")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument("--first", nargs="+", required=True, metavar="CLASS", help="classes of the first kind")
    parser.add_argument("--second", nargs="+", required=True, metavar="CLASS", help="classes of the second kind")
    parser.add_argument("--root", help="folder that the paths of the clips are relative to; default: the manifest's")
    parser.add_argument("--each", type=positive_int, default=PairOptions.each, help="number of pairs for each clip")
    parser.add_argument("--frames", type=positive_int, default=PairOptions.frames, help="frames per video")
    parser.add_argument(
        "--stride", type=positive_int, default=PairOptions.stride, help="distance of neighbouring frames in the clip"
    )
    parser.add_argument("--size", type=positive_int, default=PairOptions.size, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=PairOptions.seed, help="equal seeds give equal files")
    parser.add_argument("--workers", type=positive_int, help="number of processes; default: one per core")
    return parser


def run_pairs(args: argparse.Namespace) -> int:
    """`gcvideo pairs`."""
    from gcvideo.dataset_tools.options import PairOptions
    from gcvideo.dataset_tools.pairs import write_pairs

    with as_usage_errors(OSError, ValueError):
        kinds = (args.first, args.second)
        options = PairOptions(kinds, args.each, args.frames, args.stride, args.size, args.seed)
        manifest = write_pairs(args.manifest, args.out, options, args.root, args.workers)
    print(f"manifest: {manifest}")
    return 0


VERBS = {
    "synth": Verb(synth_parser, run_synth),
    "pairs": Verb(pairs_parser, run_pairs),
}
