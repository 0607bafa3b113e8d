"""The command line `gcvideo`. Only what a verb needs is imported, so that help answers at once."""

import argparse
import sys
from collections.abc import Sequence

from gcvideo import __version__

_HELP = """\
usage: gcvideo VERB [options]

Video recognition with Global Context blocks.

  fit       train a model on the videos of a manifest:  gcvideo fit --config configs/demo.yaml
  validate  one centre view of each validation video
  test      many views of each test video; writes report.json and report.html
  predict   print the labels of a video or a folder:    gcvideo predict --name demo --data.predict clip.mp4
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
    if args[0] == "synth":
        return _synth(args[1:])
    if args[0] not in ("fit", "validate", "test", "predict"):
        print(f"error: no verb {args[0]!r}; wanted fit, validate, test, predict or synth", file=sys.stderr)
        return 2
    from gcvideo.training_cli import run

    return run(args)


def _synth(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="gcvideo synth",
        description="Write H.264 videos of two objects whose relation is the class, and a manifest.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
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

    from gcvideo.data.synthetic import write_dataset

    counts = {"train": given.train, "val": given.val, "test": given.test}
    try:
        manifest = write_dataset(given.out, counts, given.frames, given.size, given.seed, given.workers)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{sum(counts.values())} videos; manifest: {manifest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
