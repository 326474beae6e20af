#!/bin/sh
# run_eval.sh DATA CHECKPOINT [OPTIONS]: evaluate weights on the validation images, in the background.
# CHECKPOINT is a run folder, a checkpoint, a MindSpore .ckpt, an exported file or the name of published weights. Creates
# eval/ in the current folder, with log.txt (COCO's twelve lines), metrics.json and the other files of `lookonce eval`.
# OPTIONS are those of `lookonce eval`, such as --device cpu (default: a GPU if there is one).
# Example: scripts/run_eval.sh data/coco train/outputs/coco-1
set -eu
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# //p' "$0" >&2; exit 2; }
die() { echo "run_eval.sh: $*" >&2; exit 2; }
case $1 in *://*) ;; *) [ -e "$1" ] || die "DATA: $1: no such file or folder; expected a data set (docs/data.md)" ;; esac
case $2 in *://*) ;; *)
  [ -e "$2" ] || "$root/run" python -c 'import sys; from lookonce.weights.published import PUBLISHED as known
sys.exit(sys.argv[1] not in known)' "$2" || die "CHECKPOINT: $2: no such file or folder; expected weights (docs/weights.md)" ;;
esac
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
