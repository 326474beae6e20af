#!/bin/sh
# run_distribute_train_gpu.sh DATA N CPUS_PER_RANK [OPTIONS]: train on N GPUs of this machine, in the background.
# Each process keeps to CPUS_PER_RANK cores of its own. Into the current folder goes train_parallelK/log.txt of each, and
# train_parallel0/outputs/ with the run. DEVICE and OPTIONS as for run_standalone_train.sh.
set -eu
unset FORCE_COLOR # it would make a terminal of log.txt, which has a table in place of the lines
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 3 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
for old in train_parallel[0-9]*; do
  [ ! -e "$old" ] || { echo "run_distribute_train_gpu.sh: $old/ is here, left of an earlier run? Move it" >&2; exit 1; }
done
mkdir train_parallel0
data=$1 devices=$2 cores=$3
shift 3
nohup "$root/run" lookonce train --recipe modelzoo --data "$data" --device "${DEVICE:-cuda}" --devices "$devices" \
  --cpus-per-rank "$cores" --runs train_parallel0/outputs --rank-logs train_parallel "$@" \
  >train_parallel0/log.txt 2>&1 </dev/null &
echo "started as process $!; it writes train_parallel0/log.txt and so on, and train_parallel0/outputs"
