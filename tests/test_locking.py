"""The lock of a folder."""

import subprocess
import sys

import pytest

from gcvideo.errors import UsageError
from gcvideo.locking import LockedError, locked

HOLD = "import sys; from gcvideo.locking import locked\nwith locked(sys.argv[1]): print('held', flush=True); input()"


def test_one_process_at_a_time(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} on .* is working in {folder}"), locked(folder):
            pass
    finally:
        holder.kill()  # SIGKILL: the system releases the lock
        holder.wait()
    with locked(folder), pytest.raises(LockedError), locked(folder):
        pass
    with locked(folder, "other"), locked(folder):
        pass


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match=r"can't write into .*file/run: Not a directory"),
        locked(tmp_path / "file/run"),
    ):
        pass
