"""What the ranks of a run report of themselves, and what follows from it: which one is at fault. No IO.

A verdict is one message for the user. Causes, from the strongest: a rank has raised an error of its own; a rank is
gone; a rank has not answered for `limit_s`; no rank gets on, and then the one that is behind is at fault. Errors of a
rank that only lost its connection to another are consequences and are told last.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

GATHER_S = 1.0
"""How long to wait for other ranks with the same error."""

PATIENCE_S = 5.0
"""How long a consequence waits for its cause."""


@dataclass(frozen=True)
class Report:
    """What a rank reports of itself every second.

    Attributes:
        rank, host, pid, started: which process it is; `started` tells it from a later one with the same pid.
        doing: such as "training step 12".
        progress: grows with everything that the rank does.
        idle_s: how long `progress` has not grown.
        limited: whether its time is limited.
        loads: whether it waits for its loader, which has a limit of its own and tells more.
        where: the line of code in which it has been for some time, or "".
    """

    rank: int
    host: str
    pid: int
    started: str
    doing: str = "starting"
    progress: int = 0
    idle_s: float = 0.0
    limited: bool = False
    loads: bool = False
    where: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} (process {self.pid})"


@dataclass(frozen=True)
class Failure:
    """An error that a rank has raised.

    Attributes:
        text: its message.
        status: exit status that it asks for.
        is_cause: False if it says only that the connection to another rank is lost.
    """

    text: str
    status: int = 1
    is_cause: bool = True


@dataclass(frozen=True)
class Verdict:
    """How a run ends.

    Attributes:
        text: the message.
        status: the exit status of all ranks.
        speaker: the rank that prints its own error; None: whoever found the verdict has printed `text`.
        by_all: whether all ranks have raised this error.
        stuck: processes that won't end by themselves: (host, pid, started).
    """

    text: str
    status: int = 1
    speaker: int | None = None
    by_all: bool = False
    stuck: tuple[tuple[str, int, str], ...] = ()

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> "Verdict":
        return cls(**{**plain, "stuck": tuple((host, pid, started) for host, pid, started in plain["stuck"])})


@dataclass
class Roll:
    """What is known of all ranks.

    Args:
        world_size: number of ranks.
        limit_s: how long a rank may be silent, and the run without progress; 0: for ever.
    """

    world_size: int
    limit_s: float
    reports: dict[int, Report] = field(default_factory=dict)
    silent_s: dict[int, float] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)  # rank -> how it ended
    failures: dict[int, Failure] = field(default_factory=dict)  # in the order of their arrival
    left: set[int] = field(default_factory=set)
    _failed_s: float = 0.0

    def hear(self, report: Report) -> None:
        self.reports[report.rank] = report
        self.silent_s[report.rank] = 0.0

    def pass_time(self, seconds: float) -> None:
        for rank in self.silent_s:
            self.silent_s[rank] += seconds
        if self.failures:
            self._failed_s += seconds

    def verdict(self) -> Verdict | None:
        """How the run ends; None while there is no reason to."""
        causes = {rank: failure for rank, failure in self.failures.items() if failure.is_cause}
        if causes:
            return self._of_error(causes)
        return self._of_silence() or (self._of_consequence() if self.failures else self._of_standstill())

    def _of_error(self, causes: dict[int, Failure]) -> Verdict | None:
        by_all = len(causes) == self.world_size and len({failure.text for failure in causes.values()}) == 1
        if not by_all and self._failed_s < GATHER_S:
            return None
        speaker = min(causes) if by_all else next(iter(causes))
        return Verdict(causes[speaker].text, causes[speaker].status, speaker, by_all)

    def _of_silence(self) -> Verdict | None:
        told = [f"{self.reports[rank]} {how}; last: {self.reports[rank].doing}" for rank, how in self.gone.items()]
        if told:
            return Verdict(_listed(told))
        return self._not_answering(self.limit_s)

    def _not_answering(self, limit_s: float) -> Verdict | None:
        silent = [rank for rank, seconds in self.silent_s.items() if seconds >= limit_s > 0 and rank not in self.left]
        if not silent:
            return None
        told = [
            f"{self.reports[rank]} has not answered for {self.silent_s[rank]:.0f} s; last: {self.reports[rank].doing}"
            for rank in silent
        ]
        stuck = tuple((report.host, report.pid, report.started) for report in map(self.reports.__getitem__, silent))
        return Verdict(_listed(told), stuck=stuck)

    def _of_standstill(self) -> Verdict | None:
        present = [report for rank, report in self.reports.items() if rank not in self.left]
        waited_s = max((report.idle_s for report in present if report.limited), default=0.0)
        if not waited_s >= self.limit_s > 0 or any(report.loads for report in present):
            return None
        # A stopped rank is silent for a little less than the others wait for it.
        return self._not_answering(min(5.0, self.limit_s / 2)) or self._behind(
            present, f"no progress for {waited_s:.0f} s (rank_timeout_s)"
        )

    def _behind(self, present: list[Report], what: str) -> Verdict:
        last = min(report.progress for report in present)
        behind = [report for report in present if report.progress == last]
        told = [f"{report} is at {report.doing}{report.where and f' in {report.where}'}" for report in behind]
        waiting = "" if len(behind) == len(present) else "; the other ranks wait for it"
        stuck = tuple((report.host, report.pid, report.started) for report in behind)
        return Verdict(f"{what}: {_listed(told)}{waiting}", stuck=stuck)

    def _of_consequence(self) -> Verdict | None:
        if self._failed_s < PATIENCE_S:
            return None
        present = [report for rank, report in self.reports.items() if rank not in self.failures]
        rank, failure = next(iter(self.failures.items()))
        if present:  # those that wait for others have all lost their connections at the same time
            return self._behind(present, f"{self.reports[rank]} lost its connection to the other ranks")
        return Verdict(failure.text, failure.status, rank)


def _listed(told: Iterable[str], most: int = 3) -> str:
    shown = list(told)
    more = f"; and {len(shown) - most} more" if len(shown) > most else ""
    return "; ".join(shown[:most]) + more
