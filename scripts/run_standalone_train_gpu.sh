#!/bin/sh
# run_standalone_train_gpu.sh DATA [OPTIONS]: run_standalone_train.sh on a GPU (default DEVICE: cuda).
set -eu
[ $# -ge 1 ] || sed -n '2s/^# //p' "$0" >&2
DEVICE=${DEVICE:-cuda} exec "$(dirname -- "$(readlink -f -- "$0")")/run_standalone_train.sh" "$@"
