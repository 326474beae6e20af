#!/bin/sh
# run_distribute_train.sh DATA RANK_TABLE [OPTIONS]: train on the devices of a rank table, in the background.
# Run the same command on each server of the table. Rank K writes train_parallelK/log.txt in the current folder;
# train_parallel0/outputs/ holds the run. The variable DEVICE selects the device (npu, cuda, cpu, auto; default npu,
# Ascend). OPTIONS are those of `lookonce train`, also by their model zoo names: --per_batch_size=16.
# Example: scripts/run_distribute_train.sh data/coco rank_table_8p.json --max_epoch=100
set -eu
unset FORCE_COLOR # it would write a live table into log.txt in place of log lines
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# //p' "$0" >&2; exit 2; }
die() { echo "run_distribute_train.sh: $*" >&2; exit 2; }
case $1 in *://*) ;; *) [ -e "$1" ] || die "DATA: $1: no such file or folder; expected a data set (docs/data.md)" ;; esac
[ -f "$2" ] || die "RANK_TABLE: $2: no such file; expected Ascend's rank table, a JSON file (docs/jobs.md)"
for old in train_parallel[0-9]*; do
  [ ! -e "$old" ] || { echo "run_distribute_train.sh: $old/: exists, maybe from an earlier run; move it" >&2; exit 1; }
done
mkdir train_parallel0
data=$1
RANK_TABLE_FILE=$(readlink -f -- "$2")
export RANK_TABLE_FILE
shift 2
nohup "$root/run" lookonce job --recipe modelzoo --data_url "$data" --train_url train_parallel0/outputs \
  --rank-logs train_parallel --device "${DEVICE:-npu}" "$@" >train_parallel0/log.txt 2>&1 </dev/null &
echo "started as process $!; logs: train_parallelK/log.txt, run folder in train_parallel0/outputs"
