"""A sweep whose fits and tests are small processes that leave the files of real ones and take as long as they are told.

    python -m tests.sweep.stand_in sweep FILE [options of gcvideo sweep]

A fit resumes at the second at which it was stopped. On SIGTERM it saves and ends with exit status 0, as Lightning's do.
"""

import json
import signal
import sys
import time
from pathlib import Path

from gcvideo.fit_marker import write_fit_marker

STEPS = 20
STEP_S = 0.1


def commands(sweep, run):
    folder = sweep.run_folder(run)
    return [[sys.executable, "-m", "tests.sweep.stand_in", verb, str(folder.absolute())] for verb in ("fit", "test")]


def fit(folder):
    saved = folder / "checkpoints" / "last.ckpt"
    saved.parent.mkdir(exist_ok=True)
    step = int(saved.read_text()) if saved.exists() else 0
    stops = []
    signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
    while step < STEPS and not stops:
        (folder / "fit-started").touch()
        time.sleep(STEP_S)
        step += 1
    for name in ("best.ckpt", "last.ckpt"):
        (saved.parent / name).write_text(str(step))
    if not stops:
        write_fit_marker(folder, {"steps": step})


def test(folder):
    (folder / "test-started").touch()
    time.sleep(1)
    step = int((folder / "checkpoints" / "best.ckpt").read_text())
    (folder / "report.json").write_text(json.dumps({"video_top1": step / STEPS}))


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "sweep":
        from gcvideo.cli.main import main
        from gcvideo.sweep import execute

        execute._commands = commands
        sys.exit(main(["sweep", *rest]))
    {"fit": fit, "test": test}[verb](Path(rest[0]))
