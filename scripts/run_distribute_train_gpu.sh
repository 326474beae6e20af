#!/bin/sh
# run_distribute_train_gpu.sh DATA N CPUS_PER_RANK [OPTIONS]: train on N GPUs of this machine, in the background.
# Each rank is pinned to CPUS_PER_RANK cores. Rank K writes train_parallelK/log.txt in the current folder;
# train_parallel0/outputs/ holds the run. The variable DEVICE selects the device (npu, cuda, cpu, auto; default cuda).
# OPTIONS are those of `lookonce train`, also by their model zoo names: --per_batch_size=16.
# Example: scripts/run_distribute_train_gpu.sh data/coco 8 4 --max_epoch=100
set -eu
unset FORCE_COLOR # it would write a live table into log.txt in place of log lines
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 3 ] || { sed -n '2,/^set/s/^# //p' "$0" >&2; exit 2; }
die() { echo "run_distribute_train_gpu.sh: $*" >&2; exit 2; }
case $1 in *://*) ;; *) [ -e "$1" ] || die "DATA: $1: no such file or folder; expected a data set (docs/data.md)" ;; esac
case $2 in '' | *[!0-9]* | 0*) die "N: $2; expected the number of GPUs, 1 or more" ;; esac
case $3 in '' | *[!0-9]*) die "CPUS_PER_RANK: $3; expected a number of cores; 0 disables pinning" ;; esac
for old in train_parallel[0-9]*; do
  [ ! -e "$old" ] || { echo "run_distribute_train_gpu.sh: $old/: exists, maybe from an earlier run; move it" >&2; exit 1; }
done
mkdir train_parallel0
data=$1 devices=$2 cores=$3
shift 3
nohup "$root/run" lookonce train --recipe modelzoo --data "$data" --device "${DEVICE:-cuda}" --devices "$devices" \
  --cpus-per-rank "$cores" --runs train_parallel0/outputs --rank-logs train_parallel "$@" \
  >train_parallel0/log.txt 2>&1 </dev/null &
echo "started as process $!; logs: train_parallelK/log.txt, run folder in train_parallel0/outputs"
