"""The scripts of configs/launch on one machine: two "nodes" of torchrun, and a job of SLURM without SLURM."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.faults.runs import TINY

pytestmark = pytest.mark.slow

LAUNCH = Path(__file__).parents[2] / "configs" / "launch"


def start(script, manifest, runs, **environment):
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    options = ["--data.manifest", manifest, "--runs_dir", runs, "--name", "run", *TINY, "--trainer.max_epochs", "1"]
    return subprocess.Popen(
        [str(LAUNCH / script), *map(str, options)], start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": tools, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment},
    )  # fmt: skip


def steps(runs):
    return torch.load(runs / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def test_two_nodes_of_torchrun(synthetic, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        head = f"127.0.0.1:{free.getsockname()[1]}"
    nodes = [start("torchrun.sh", synthetic, tmp_path, NODES="2", GPUS="0", HEAD=head) for _ in range(2)]
    try:
        outputs = [node.communicate(timeout=240)[0] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert steps(tmp_path) == 2  # 12 videos, 2 ranks, batches of 3


def test_a_job_of_slurm(synthetic, tmp_path):
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\n[ "$1" = --kill-on-bad-exit=1 ] && shift\nexec "$@"\n')
    srun.chmod(0o755)
    job = {"JOB_ID": "5", "NTASKS": "1", "NTASKS_PER_NODE": "1", "JOB_NUM_NODES": "1", "NNODES": "1", "PROCID": "0",
           "LOCALID": "0", "NODEID": "0", "JOB_NAME": "gcvideo"}  # fmt: skip
    environment = {f"SLURM_{name}": value for name, value in job.items()}
    tools = f"{srun.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    for _ in range(2):  # started, and started again when it has finished
        process = start("slurm.sh", synthetic, tmp_path, **{**environment, "PATH": tools})
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert steps(tmp_path) == 4
