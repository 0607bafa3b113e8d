"""A distributed run always ends, with one message, and leaves no process behind.

A thread in each rank reports every second what its rank does (`rank_channel`); that of rank 0 judges (`rank_reports`).
When a rank raises an error, is killed, is stopped or gets stuck, one process tells which, where, and what it did last,
and all ranks end: those that wait in a collective by `os._exit`, because no exception reaches them there, and those
that are stopped by SIGKILL. If rank 0 is the one, the next rank of those that are left speaks.

torch's own time-out (30 minutes) is left to the cases that no thread of Python sees.
"""

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gcvideo import processes
from gcvideo.data.loader import LoaderError, batches_loaded, explain, is_waiting
from gcvideo.errors import GcvideoError, InterruptedRunError
from gcvideo.training.rank_channel import Address, Hub, Spoke
from gcvideo.training.rank_failures import failure_of, how_it_ended
from gcvideo.training.rank_reports import Failure, Report, Roll, Verdict

TICK_S = 0.25
REPORT_S = 1.0

JOIN_S = 300.0
"""How long the ranks have to find one another, at least: starting Python from a busy file system takes minutes."""

GRACE_S = 10.0
"""How long the other ranks have to end by themselves after one has raised an error."""

TEARDOWN_S = 30.0
"""How long the rank that tells its error has to end."""

LAUNCHER = "GCVIDEO_LAUNCHER"
"""Environment variable of the ranks that another rank has started: the process id of that one."""


class RankWatch(threading.Thread):
    """The thread of one rank.

    Args:
        rank, world_size: of this process.
        limit_s: how long a rank may be silent, and the run without progress; 0: for ever.

    Attributes:
        launched: processes of the ranks that this one has started: rank -> process.
        verdict: how the run ends, once that is decided.
    """

    def __init__(self, rank: int, world_size: int, limit_s: float):
        super().__init__(daemon=True, name="rank-watch")
        pid = os.getpid()
        self.me = Report(rank, socket.gethostname(), pid, processes.started_at(pid), "joining the other ranks")
        self.roll = Roll(world_size, limit_s)
        self.launched: dict[int, subprocess.Popen[bytes]] = {}
        self.verdict: Verdict | None = None
        self._decided = threading.Event()
        self._outbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._channel: Hub | Spoke | None = None
        self._doing, self._limited, self._begun = self.me.doing, True, 0
        self._main_thread = threading.main_thread().ident or 0
        self._speaks_for_0 = rank == 1
        self._left = False
        self._end_s = self._report_s = 0.0

    # Called by the main thread.

    def start(self) -> None:
        """Begin to watch; this process is a rank from now on."""
        processes.who = f"rank {self.me.rank} on {self.me.host}: "
        processes.before_end = self.before_end
        super().start()

    def begin(self, doing: str, limited: bool) -> None:
        """This rank begins to do something else; `limited` if it must not take longer than `limit_s`."""
        self._doing, self._limited = doing, limited
        self._begun += 1

    def open(self, host: str) -> tuple[Address, dict[str, Any]]:
        """Rank 0 begins to listen; returns what the others need to join."""
        self.begin("setting up", limited=False)
        for rank in range(1, self.roll.world_size):  # one that never reports is silent from now on
            self.roll.hear(Report(rank, "another machine", 0, ""))
        hub = Hub(host)
        self._channel = hub
        return hub.address, asdict(replace(self.me, doing=self._doing, limited=False))

    def connect(self, address: Address, hub: dict[str, Any]) -> None:
        """The other ranks join it."""
        self.begin("setting up", limited=False)
        self.roll.hear(Report(**hub))
        self._channel = Spoke(address, self.me.rank, timeout_s=30.0)

    def leave(self) -> None:
        """The run has ended well, as far as this rank knows."""
        if self.verdict is not None:
            processes.end_now(None, self.verdict.status)
        processes.before_end = None
        self._outbox.put({"bye": True})
        self.join(timeout=2.0)

    def failed(self, error: BaseException) -> BaseException:
        """This rank ends by an error: returns what to raise, or does not return if another rank tells the cause."""
        failure = failure_of(error)
        verdict = self._report_failure(failure, patience_s=15.0)
        if verdict is not None and verdict.speaker != self.me.rank:
            if isinstance(error, GcvideoError):  # it leaves in order
                error.is_told = True
                return error
            processes.end_now(None, verdict.status)
        if isinstance(error, InterruptedRunError) or not isinstance(error, Exception):
            return error
        # Before the ranks have found one another, it is rank 0 that speaks, of this machine.
        prefix = "" if self._channel is None or (verdict is not None and verdict.by_all) else processes.who
        if told := explain(error):
            error = LoaderError(told)
        elif not failure.is_cause:
            error = GcvideoError(failure.text)
        if isinstance(error, GcvideoError):
            error.prefix = prefix
        elif sys.version_info >= (3, 11):
            error.add_note(prefix.rstrip(": "))
        return error

    def before_end(self, message: str) -> str | None:
        """Another thread of this rank ends the process: what it prints; see `processes.before_end`."""
        verdict = self._report_failure(Failure(message), patience_s=3.0)
        if verdict is not None and verdict.speaker != self.me.rank:
            return None
        return processes.who + message

    def _report_failure(self, failure: Failure, patience_s: float) -> Verdict | None:
        self._outbox.put({"failure": asdict(failure)})
        if self._channel is not None:
            self._decided.wait(patience_s)
        elif not failure.is_cause:  # it was the first to notice; those that this process has launched are told apart
            self._decided.wait(3.0)
        return self.verdict

    # Called by the thread itself.

    def run(self) -> None:
        progress, idle_s = -1, 0.0
        while not self._left:
            start = time.monotonic()
            messages = [] if self._channel is None else self._channel.exchange(TICK_S)
            if not messages:
                time.sleep(max(0.0, TICK_S - (time.monotonic() - start)))
            # No more than two ticks: a process that was stopped and continues has waited for nothing.
            elapsed_s = min(time.monotonic() - start, 2 * TICK_S)
            now = self._begun + batches_loaded()
            progress, idle_s = now, idle_s + elapsed_s if now == progress else 0.0
            self.me = replace(
                self.me,
                doing=self._doing,
                progress=progress,
                idle_s=idle_s,
                limited=self._limited,
                loads=is_waiting(),
                where=self._where() if idle_s >= 2.0 else "",
            )
            for rank, message in messages:
                self._hear(rank, message)
            self._speak(elapsed_s)
            self._judge(elapsed_s)

    def _hear(self, rank: int, message: dict[str, Any] | None) -> None:
        if message is None:
            if rank not in self.roll.left and self.verdict is None:
                self.roll.gone[rank] = how_it_ended(self.launched.get(rank))
        elif "report" in message:
            report = Report(**message["report"])
            # Standstill is judged by rank 0 only.
            self.roll.hear(report if self.me.rank == 0 else replace(report, limited=False))
            if "present" in message:
                self._speaks_for_0 = min(message["present"], default=self.me.rank) == self.me.rank
        elif "failure" in message:
            self.roll.failures.setdefault(rank, Failure(**message["failure"]))
        elif "verdict" in message:
            self._obey(Verdict.of_plain(message["verdict"]))
        elif "bye" in message:
            self.roll.left.add(rank)

    def _speak(self, elapsed_s: float) -> None:
        """Send what is due."""
        is_hub = isinstance(self._channel, Hub)
        while not self._outbox.empty():
            message = self._outbox.get()
            self._left = "bye" in message
            if is_hub and "failure" in message:
                self._hear(0, message)
            elif self._channel is not None:
                self._channel.send(message)
        self._report_s -= elapsed_s
        if self._channel is not None and self._report_s <= 0 and not self._left:
            self._report_s = REPORT_S
            message = {"report": asdict(self.me)}
            if is_hub:
                absent = {0, *self.roll.left, *self.roll.gone}
                silent = {rank for rank, seconds in self.roll.silent_s.items() if seconds > 5 * REPORT_S}
                message["present"] = sorted(self.roll.reports.keys() - absent - silent)
            self._channel.send(message)

    def _judge(self, elapsed_s: float) -> None:
        if self._left:
            return
        if self.verdict is not None:
            self._end_s -= elapsed_s
            if self._end_s <= 0:
                speaks = self.verdict.speaker == self.me.rank
                processes.before_end = None
                processes.end_now(processes.who + self.verdict.text if speaks else None, self.verdict.status)
            return
        if self._channel is None:
            self._judge_joining()
            return
        if self.me.rank == 0:
            self.roll.hear(self.me)
        self.roll.pass_time(elapsed_s)
        verdict = self.roll.verdict()
        if verdict is not None:
            self._conclude(verdict)

    def _judge_joining(self) -> None:
        """While the ranks still find one another: only what this process sees itself."""
        for rank, process in self.launched.items():
            code = process.poll()
            if code:
                # By itself it has told why.
                killed = f"rank {rank} on {self.me.host} {how_it_ended(self.launched.get(rank))} before the run began"
                self._conclude(Verdict(killed if code < 0 else "", status=code if code > 0 else 1))
                return
        if self._is_orphan():
            self._conclude(Verdict("", 1))
        elif self._limited and self.roll.limit_s > 0 and self.me.idle_s >= max(self.roll.limit_s, JOIN_S):
            place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            others = "not all of the other ranks have" if self.me.rank == 0 else "it has not"
            told = f"{self.me} waits since {self.me.idle_s:.0f} s (rank_timeout_s): {others} joined at {place}"
            # Rank 0 and the first one of each other machine tell it.
            self._conclude(Verdict("" if LAUNCHER in os.environ else told, 1))

    def _conclude(self, verdict: Verdict) -> None:
        """Tell it and end, as the rank that has found out."""
        if (
            verdict.speaker is None
            and verdict.text
            and (self.me.rank == 0 or self._channel is None or self._speaks_for_0)
        ):
            processes.tell(verdict.text)
        if isinstance(self._channel, Hub):
            self._channel.send({"verdict": verdict.as_plain()})
        self._obey(verdict)

    def _obey(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self._end_s = 0.5 if verdict.speaker is None else TEARDOWN_S if verdict.speaker == self.me.rank else GRACE_S
        for host, pid, started in verdict.stuck:
            if host == self.me.host and pid != self.me.pid:
                processes.kill(pid, started)
        self._decided.set()

    def _is_orphan(self) -> bool:
        """Whether the rank that has started this one is gone."""
        return LAUNCHER in os.environ and os.environ[LAUNCHER] != str(os.getppid())

    def _where(self) -> str:
        """The line of code in which the main thread is."""
        frame = sys._current_frames().get(self._main_thread)
        if frame is None:
            return ""
        return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}()"
