"""How a distributed run is started and watched: `watch_ranks(trainer, limit_s)`."""

import atexit
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch.distributed.constants import default_pg_timeout

from gcvideo import processes
from gcvideo.errors import UsageError
from gcvideo.training.rank_agreement import refuse_differences
from gcvideo.training.ranks import GRACE_S, LAUNCHER, RankWatch


def watch_ranks(trainer: pl.Trainer, limit_s: float) -> None:
    """Let a trainer with several ranks be watched; call it before `trainer.fit`.

    Args:
        trainer: with any strategy whose ranks are processes started by Lightning's script launcher, torchrun or SLURM;
            for others, nothing is done.
        limit_s: how long a rank may be silent, and the run without progress; 0: for ever.
    """
    strategy: Any = trainer.strategy
    if type(strategy.launcher) is not _SubprocessScriptLauncher or trainer.world_size == 1:
        return
    watch = RankWatch(trainer.global_rank, trainer.world_size, limit_s)
    launcher = strategy.launcher
    strategy._launcher = RankLauncher(watch, launcher.cluster_environment, launcher.num_processes, launcher.num_nodes)
    trainer.callbacks.append(_Activity(watch))  # type: ignore[attr-defined]
    if getattr(strategy, "_timeout", None) == default_pg_timeout:  # the user has not chosen one
        strategy._timeout = max(default_pg_timeout, timedelta(seconds=limit_s + 60))
    join = strategy.setup_environment

    def join_and_connect() -> None:
        try:
            join()
        except RuntimeError as error:
            if "EADDRINUSE" in str(error):
                raise _port_in_use(os.environ["MASTER_PORT"]) from None
            raise
        hub = watch.open(strategy.cluster_environment.main_address) if trainer.is_global_zero else None
        hub = strategy.broadcast(hub)
        if not trainer.is_global_zero:
            watch.connect(*hub)

    strategy.setup_environment = join_and_connect


class RankLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher, which watches the ranks that it starts and ends with them.

    Lightning's own observer kills this process by SIGKILL when one of the others fails, without a word.
    """

    def __init__(self, watch: RankWatch, *args: Any):
        super().__init__(*args)
        self.watch = watch
        self.started: list[subprocess.Popen[bytes]] = []

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer | None = None, **kwargs: Any) -> Any:
        """Call a function in all ranks; watched the first time."""
        if self.watch.ident is not None:
            return super().launch(function, *args, trainer=trainer, **kwargs)
        if LAUNCHER in os.environ:
            # Wakes it, if it is stopped, to find that it is alone.
            processes.signal_at_end_of_parent(signal.SIGCONT)
        self.watch.start()
        try:
            result = super().launch(function, *args, trainer=trainer, **kwargs)
        except BaseException as error:
            told = self.watch.failed(error)
            if told is error:
                raise
            raise told from None
        self.watch.leave()
        return result

    def _call_children_scripts(self) -> None:
        if "MASTER_PORT" in os.environ and self.cluster_environment.node_rank() == 0:
            _refuse_port_in_use(int(os.environ["MASTER_PORT"]))
        os.environ[LAUNCHER] = str(os.getpid())
        super()._call_children_scripts()
        del os.environ[LAUNCHER]
        # Where the observer does not look for them.
        self.started, self.procs = self.procs, []
        processes.children.extend(self.started)
        first = self.watch.me.rank
        self.watch.launched = {first + local_rank: process for local_rank, process in enumerate(self.started, start=1)}
        atexit.register(self._end_children)

    def kill(self, signum: Any) -> None:
        """Send a signal to the ranks that were started here."""
        for process in self.started:
            process.send_signal(signum)

    def _end_children(self) -> None:
        """Leave no rank behind, and no failure of one unnoticed."""
        verdict = self.watch.verdict
        # After an error they mostly wait for this one; after a signal (128 + its number) they end by themselves.
        limit_s = (GRACE_S if verdict.status > 128 else 3.0) if verdict else self.watch.roll.limit_s or None
        try:
            codes = [process.wait(timeout=limit_s) for process in self.started]
        except subprocess.TimeoutExpired:
            if verdict is None:
                processes.end_now(f"the ranks of this machine did not end within {limit_s:g} s after rank 0")
            processes.kill_children()
            return
        if any(codes) and verdict is None:
            processes.end_now(None, 1)


def _refuse_port_in_use(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _port_in_use(str(port)) from None
            raise UsageError(f"can't listen at port {port} (MASTER_PORT): {error.strerror}") from None


def _port_in_use(port: str) -> UsageError:
    return UsageError(
        f"port {port} of {socket.gethostname()} (MASTER_PORT) is in use: stop the other program, or choose "
        f"another port; on one machine, unset MASTER_PORT to take a free one"
    )


class _Activity(Callback):
    """Tells the watch what its rank does."""

    def __init__(self, watch: RankWatch):
        self.watch = watch

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        refuse_differences(trainer, pl_module, self.watch.me.host)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.watch.begin("the first training batch", limited=True)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.watch.begin(f"training step {trainer.global_step + 1}", limited=True)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        self.watch.begin(f"training step {trainer.global_step + 1}, backward", limited=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.watch.begin(f"loading a batch after training step {trainer.global_step}", limited=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.watch.begin("the end of the training", limited=False)


def _evaluation_hooks() -> None:
    """Each stage of evaluation has hooks of its own names."""
    for stage in ("validation", "test", "predict"):

        def begin(self: _Activity, trainer: pl.Trainer, *args: Any, stage: str = stage, **kwargs: Any) -> None:
            self.watch.begin(f"a batch of the {stage}", limited=True)

        def end(self: _Activity, trainer: pl.Trainer, *args: Any, stage: str = stage, **kwargs: Any) -> None:
            self.watch.begin(f"loading a batch of the {stage}", limited=True)

        def finish(self: _Activity, trainer: pl.Trainer, *args: Any, stage: str = stage, **kwargs: Any) -> None:
            self.watch.begin(f"the end of the {stage}", limited=False)

        setattr(_Activity, f"on_{stage}_start", end)
        setattr(_Activity, f"on_{stage}_batch_start", begin)
        setattr(_Activity, f"on_{stage}_batch_end", end)
        setattr(_Activity, f"on_{stage}_end", finish)


_evaluation_hooks()
