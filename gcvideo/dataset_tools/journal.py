"""The journal of `gcvideo prepare`: after a kill at any point, a run resumes and loses or repeats nothing.

A journal is a file of JSON lines that is only appended to; a last line that a kill cut short does not count. Each part
of a run writes its own (`.prepare/3-of-64.jsonl`), and every part reads all of them.
"""

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gcvideo.dataset_tools.plan import Part
from gcvideo.dataset_tools.records import Failed, Outcome, from_json, to_json
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.files import write_text

FOLDER = ".prepare"


class PrepareError(GcvideoError):
    """The run had to stop; what is prepared is kept, and the same command resumes."""

    exit_status = 2  # 1 says that it went through and some videos failed


class Journal:
    """The journals of an output folder, open for one part.

    Args:
        out: the output folder; created if missing.
        settings: all that decides the bytes of the output; every run into this folder must have the same.
        part: whose journal is written.

    Raises:
        PrepareError: another process works on this part.
        UsageError: the folder was prepared with other settings.
    """

    def __init__(self, out: Path, settings: dict[str, Any], part: Part):
        self.folder = out / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{part.number}-of-{part.count}"
        self.temporary = self.folder / f"making-{name}"
        self._path = self.folder / f"{name}.jsonl"
        self._lock = FileLock(self.folder / f"{name}.lock")  # the system releases it when the process dies
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise PrepareError(f"another process prepares part {part} into {out}") from None
        try:
            self._check_settings(out, settings)
            self._remove_leftovers()
            self._end_last_line()
            self._stream = self._path.open("a", encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise

    def _check_settings(self, out: Path, settings: dict[str, Any]) -> None:
        path = self.folder / "settings.json"
        if not path.exists():
            write_text(path, json.dumps(settings, indent=1, sort_keys=True))
            return
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} can't be read ({error}); remove it if you know the settings") from None
        changed = [key for key in settings if settings[key] != before.get(key)]
        if changed:
            changes = ", ".join(f"{key} was {before.get(key)!r} and is now {settings[key]!r}" for key in changed)
            raise UsageError(f"{out} was prepared with other settings ({changes}); use them, or another folder")

    def _remove_leftovers(self) -> None:
        """Unfinished files of a run that was killed."""
        self.temporary.mkdir(exist_ok=True)
        for leftover in self.temporary.iterdir():
            leftover.unlink(missing_ok=True)

    def _end_last_line(self) -> None:
        """Cut off a last line without an end; else the next record would be appended to it and be lost with it."""
        if self._path.exists():
            data = self._path.read_bytes()
            complete = data.rfind(b"\n") + 1
            if complete < len(data):
                os.truncate(self._path, complete)

    def outcomes(self) -> dict[str, Outcome]:
        """Target -> outcome, over all parts; a success overrides failures."""
        outcomes: dict[str, Outcome] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_bytes().split(b"\n")[:-1]:  # after the last line end, a writer may be at work
                try:
                    outcome = from_json(line)
                except ValueError:  # a machine crashed; the video is verified again
                    continue
                if not isinstance(outcome, Failed) or outcome.target not in outcomes:
                    outcomes[outcome.target] = outcome
        return outcomes

    def add(self, outcome: Outcome) -> None:
        """Append a record."""
        self._stream.write(to_json(outcome) + "\n")
        # No fsync: what is flushed survives a kill, and what a crash of the machine loses is verified again.
        self._stream.flush()

    def close(self) -> None:
        """Let another process work on this part."""
        self._stream.close()
        self._lock.release()
