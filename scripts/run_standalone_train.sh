#!/bin/sh
# run_standalone_train.sh DATA [OPTIONS]: train on one device with recipe modelzoo, in the background.
# Creates train/ in the current folder, with log.txt and outputs/, which holds the run. The variable DEVICE selects the
# device (npu, cuda:1, cpu, auto; default npu, Ascend). OPTIONS are those of `lookonce train`, also by their model zoo
# names: --per_batch_size=16.
# Example: DEVICE=cpu scripts/run_standalone_train.sh data/coco --max_epoch=1
set -eu
unset FORCE_COLOR # it would write a live table into log.txt in place of log lines
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 1 ] || { sed -n '2,/^set/s/^# //p' "$0" >&2; exit 2; }
die() { echo "run_standalone_train.sh: $*" >&2; exit 2; }
case $1 in *://*) ;; *) [ -e "$1" ] || die "DATA: $1: no such file or folder; expected a data set (docs/data.md)" ;; esac
mkdir train 2>/dev/null || { echo "run_standalone_train.sh: cannot create train/ here; if it exists from an earlier run, move it" >&2; exit 1; }
data=$1
shift
nohup "$root/run" lookonce train --recipe modelzoo --data "$data" --device "${DEVICE:-npu}" --runs train/outputs "$@" \
  >train/log.txt 2>&1 </dev/null &
echo "started as process $!; log: train/log.txt, run folder in train/outputs"
