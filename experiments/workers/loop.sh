#!/usr/bin/env bash
# A sweep on the GPUs of one machine by a loop of the shell, without Parsl: a process trains a group.
#
#   python -m experiments.sweep --config=... --workdir=runs/beta --declare
#   bash experiments/workers/loop.sh runs/beta
#   python -m experiments.sweep --workdir=runs/beta --collect
#
# Ctrl-C ends it when each group is saved; the same command goes on. Every process sees one GPU alone.
#
# Unguarded here, other than with --workers:
# - Nobody retries: a process that was killed is said, and its group waits for the same command again.
# - GPUs share the groups beforehand, so that the last group of one may train while another is idle.
# - Nobody makes tables before --collect.
set -u
folder=${1:?the run folder}
gpus=(0 1)  # CHANGE: which GPUs, as nvidia-smi numbers them
groups=$(python -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["groups"]))' \
  "$folder/config.json") || exit 2

train() {  # the groups of a GPU: every so manieth, from its own place on
  for ((group = $1; group < groups; group += ${#gpus[@]})); do
    CUDA_VISIBLE_DEVICES=${gpus[$1]} \
      python -m experiments.sweep --workdir="$folder" --group="$group" "${@:2}"
    code=$?
    if [ "$code" -ge 128 ]; then exit "$code"; fi  # a signal
    if [ "$code" -ne 0 ]; then echo "group $group ends with $code" >&2; failed=1; fi
  done
  exit "${failed:-0}"
}

for index in "${!gpus[@]}"; do
  train "$index" "${@:2}" &
done
ended=0
for job in $(jobs -p); do wait "$job" || ended=$?; done
exit "$ended"
