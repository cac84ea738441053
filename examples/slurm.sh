#!/bin/bash
# sbatch examples/slurm.sh --config birds_stage1 --data.root /shared/birds --output_dir /shared
# Trains Stage I on two machines that share a folder; for Stage II name train_stage2 below. A job whose machine fails
# is queued again, and goes on from the last checkpoint, as does the same sbatch command after the time is up.
#SBATCH --job-name=stackgan
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

port=$((20000 + SLURM_JOB_ID % 10000)) # of this job alone
workers=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$port\"/" | paste -sd, -)
export workers

# one process on each machine, all of which end as soon as one fails
srun --kill-on-bad-exit=1 bash -c '
  export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  exec python -m stackgan_keras.train_stage1 "$@"
' train "$@"
