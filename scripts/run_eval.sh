#!/bin/sh
# run_eval.sh DATA CHECKPOINT [OPTIONS]: score weights on the validation pictures, in the background.
# CHECKPOINT is a run folder, a checkpoint, a .ckpt of MindSpore or an exported file. Into the current folder goes eval/:
# log.txt with COCO's twelve lines, metrics.json and so on. OPTIONS are those of `lookonce eval`.
set -eu
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 2 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
mkdir eval 2>/dev/null || { echo "run_eval.sh: cannot make eval/ here; is one left of an earlier run?" >&2; exit 1; }
data=$1 weights=$2
shift 2
unset FORCE_COLOR # it would make a terminal of log.txt, with a progress bar in it
( # what is logged comes first, then the headline, and under it the twelve lines
  trap '' HUP
  "$root/run" lookonce eval --data "$data" --weights "$weights" --output eval "$@" |
    awk 'NR == 1 { print "=============coco eval reulst=========" } 1'
) >eval/log.txt 2>&1 </dev/null &
echo "started as process $!; it writes eval/log.txt"
