#!/bin/sh
# run_standalone_train.sh DATA [OPTIONS]: train on one device as the document does, in the background.
# Into the current folder goes train/: log.txt, and outputs/ with the run. The device is an Ascend one, or what DEVICE
# says (cuda:1, cpu, auto). OPTIONS are those of `lookonce train`, under any of their names: --per_batch_size=16.
set -eu
unset FORCE_COLOR # it would make a terminal of log.txt, which has a table in place of the lines
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
mkdir train 2>/dev/null || { echo "run_standalone_train.sh: cannot make train/ here; is one left of an earlier run?" >&2; exit 1; }
data=$1
shift
nohup "$root/run" lookonce train --recipe modelzoo --data "$data" --device "${DEVICE:-npu}" --runs train/outputs "$@" \
  >train/log.txt 2>&1 </dev/null &
echo "started as process $!; it writes train/log.txt and train/outputs"
