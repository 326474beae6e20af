#!/bin/sh
# run_eval_gpu.sh DATA CHECKPOINT [OPTIONS]: run_eval.sh; an evaluation takes the GPU by itself where there is one.
set -eu
exec "$(dirname -- "$(readlink -f -- "$0")")/run_eval.sh" "$@"
