#!/bin/sh
# run_eval.sh DATA CHECKPOINT [OPTIONS]: evaluate weights on the validation images, in the background.
# CHECKPOINT is a run folder, a checkpoint, a MindSpore .ckpt or an exported file. Creates eval/ in the current folder,
# with log.txt (COCO's twelve lines), metrics.json and the other files of `lookonce eval`, which also defines OPTIONS.
set -eu
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 2 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
mkdir eval 2>/dev/null || { echo "run_eval.sh: cannot create eval/ here; if it exists from an earlier run, move it" >&2; exit 1; }
data=$1 weights=$2
shift 2
unset FORCE_COLOR # otherwise log.txt gets a progress bar
( # what is logged comes first, then the headline, and under it the twelve lines
  trap '' HUP
  "$root/run" lookonce eval --data "$data" --weights "$weights" --output eval "$@" |
    awk 'NR == 1 { print "=============coco eval reulst=========" } 1'
) >eval/log.txt 2>&1 </dev/null &
echo "started as process $!; log: eval/log.txt"
