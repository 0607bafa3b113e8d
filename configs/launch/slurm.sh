#!/usr/bin/env bash
# Train under SLURM: sbatch configs/launch/slurm.sh --config configs/kinetics/scratch.yaml --name scratch
#
# Two minutes before the time limit SLURM sends USR1: the run saves its state and requeues the job, which resumes.
# A node that is taken away sends TERM: the state is saved, and --requeue starts the job again elsewhere.
#SBATCH --job-name=gcvideo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=14
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# srun starts one process for each task, and SLURM tells each its rank.
exec srun --kill-on-bad-exit=1 gcvideo fit --ckpt_path auto \
  --trainer.num_nodes "$SLURM_JOB_NUM_NODES" --trainer.devices "$SLURM_NTASKS_PER_NODE" "$@"
