#!/bin/sh
# run_eval_gpu.sh DATA CHECKPOINT [OPTIONS]: same as run_eval.sh, which uses a GPU if there is one.
set -eu
exec "$(dirname -- "$(readlink -f -- "$0")")/run_eval.sh" "$@"
