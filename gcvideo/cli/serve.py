"""`gcvideo serve`."""

import argparse
import sys
import threading

from gcvideo.cli.parser import Verb, non_negative_int, positive_float, verb_parser
from gcvideo.cli.trained import add_model_options, load_chosen


def serve_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo serve`."""
    parser = verb_parser(
        "serve",
        "Serve a page on which to try a model: drop a clip, see its classes, its timeline and what the blocks attend "
        "to. Uploads are deleted as soon as they are answered. Needs the extra `web`.",
    )
    add_model_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=non_negative_int, default=7860, help="0 takes a free one")
    parser.add_argument("--max_mb", type=positive_float, default=50.0, help="size of an upload, at most")
    parser.add_argument("--max_s", type=positive_float, default=120.0, help="duration of a video, at most")
    parser.add_argument("--examples", metavar="FOLDER", help="videos that a visitor can choose")
    return parser


def run_serve(args: argparse.Namespace) -> int:
    """`gcvideo serve`; it ends with Ctrl-C."""
    from gcvideo.data.listing import SUFFIXES
    from gcvideo.serving.answer import Examples, Limits
    from gcvideo.serving.page import LOOPBACK, serving

    limits = Limits(args.max_mb, args.max_s)
    examples = Examples() if args.examples is None else Examples.of(args.examples, SUFFIXES)
    recognizer = load_chosen(args)
    with serving(recognizer, examples, limits, args.host, args.port) as page:
        if args.host not in LOOPBACK:
            print("other machines can use this page: it has no password", file=sys.stderr)
        print(page.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    return 0


VERBS = {"serve": Verb(serve_parser, run_serve)}
