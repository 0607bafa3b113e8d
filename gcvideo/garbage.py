"""When Python's garbage collector does not run, and what it does not visit."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Switch the garbage collector off: a million new objects would set it off again and again, to visit them all."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def imports_that_stay() -> Iterator[None]:
    """Import torch and Lightning in a process of our own: 800,000 objects that stay until its end.

    The collector would visit them all while they are imported, in the run and at exit: 0.4 s each time. Objects that
    are frozen it does not visit, and Python does not free them at exit, which takes as long as all visits.
    """
    atexit.register(_thaw)  # first, so that it runs last: after torch and multiprocessing have ended loader processes
    with no_garbage_collection():
        yield
    gc.freeze()


def _thaw() -> None:
    # Not freed, triton's objects would be reported on stderr. It is not installed with the builds of torch for CPUs.
    if "triton" in sys.modules:
        gc.collect()  # of the run, as Python does at exit before it empties the modules
        gc.unfreeze()
        gc.disable()  # Python would visit all modules first, and then free them in any case
