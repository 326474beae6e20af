#!/bin/sh
# run_infer_cpp.sh MODEL IMAGES ANNOTATIONS [DEVICE]: build the C++ program, run it over a folder, score what it finds.
# MODEL is what `lookonce export` wrote (.onnx or .xml), ANNOTATIONS a COCO file. Into the current folder go result_Files/
# (raw outputs of the heads), time_Result/test_perform_static.txt, results.json, detections.jsonl, and acc.log with
# COCO's twelve lines. DEVICE is OpenVINO's name of one (CPU, GPU, NPU), CPU without; a number, as in the document, is an
# Ascend device, for which the program must have been built with ONNX Runtime and CANN (docs/cpp.md).
set -eu
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
[ $# -ge 3 ] && [ $# -le 4 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
case ${4:-CPU} in
  *[!0-9]*) set -- "$1" "$2" "$3" --device "${4:-CPU}" ;;
  *) set -- "$1" "$2" "$3" --runtime onnxruntime --device "cann:$4" ;;
esac
model=$1 images=$2 annotations=$3
shift 3
for old in acc.log results.json detections.jsonl result_Files time_Result; do
  [ ! -e "$old" ] || { echo "run_infer_cpp.sh: $old is here from an earlier run; move it, or go to another folder" >&2; exit 1; }
done
"$root/run" cpp build >&2
# From 0.001 up, as every score of lookonce's evaluation counts.
"$root/cpp/build/release/lookonce-infer" "$model" "$images" --annotations "$annotations" --output . --threshold 0.001 \
  --no-pictures --raw --timing --warmup 3 "$@"
echo "=============coco eval reulst=========" >acc.log
"$root/run" lookonce eval --results results.json --data "$annotations" --images "$images" --output acc --resamples 0 >>acc.log
cat acc.log
