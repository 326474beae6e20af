#!/bin/sh
# run_standalone_train_gpu.sh DATA [OPTIONS]: run_standalone_train.sh on a GPU.
set -eu
DEVICE=${DEVICE:-cuda} exec "$(dirname -- "$(readlink -f -- "$0")")/run_standalone_train.sh" "$@"
