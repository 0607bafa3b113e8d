#!/usr/bin/env bash
# Train on several nodes with torchrun. Run the same line on every node, with the address of one of them:
#
#   NODES=2 GPUS=8 HEAD=node1:29500 configs/launch/torchrun.sh --config configs/kinetics/scratch.yaml --name scratch
#
# The same line starts and resumes. GPUS=0 runs one process on CPUs.
set -euo pipefail
: "${NODES:=1}" "${GPUS:=1}" "${HEAD:=127.0.0.1:29500}"

processes=$((GPUS > 0 ? GPUS : 1))
accelerator=$([ "$GPUS" -gt 0 ] && echo gpu || echo cpu)
exec torchrun --nnodes "$NODES" --nproc-per-node "$processes" \
  --rdzv-backend c10d --rdzv-endpoint "$HEAD" --rdzv-id gcvideo \
  -m gcvideo fit --ckpt_path auto \
  --trainer.accelerator "$accelerator" --trainer.devices "$processes" --trainer.num_nodes "$NODES" "$@"
