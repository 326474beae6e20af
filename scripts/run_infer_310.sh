#!/bin/sh
# run_infer_310.sh MODEL IMAGES ANNOTATIONS [DEVICE]: the former name of run_infer_cpp.sh.
set -eu
exec "$(dirname -- "$(readlink -f -- "$0")")/run_infer_cpp.sh" "$@"
