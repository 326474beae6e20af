#!/bin/sh
# run_infer_cpp.sh MODEL IMAGES ANNOTATIONS [DEVICE]: build the C++ program, run it over a folder, score what it finds.
# MODEL is what `lookonce export` wrote (.onnx or .xml), ANNOTATIONS a COCO file. Into the current folder go result_Files/
# (raw outputs of the heads), time_Result/test_perform_static.txt, results.json, detections.jsonl, and acc.log with
# COCO's twelve lines, whole or not there. DEVICE is OpenVINO's name of one (CPU, GPU, NPU), CPU without; a number, as in
# the document, is an Ascend device, for which the program must have been built with ONNX Runtime and CANN (docs/cpp.md).
set -eu
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
die() { echo "run_infer_cpp.sh: $*" >&2; exit 2; }
[ $# -ge 3 ] && [ $# -le 4 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
model=$1 images=$2 annotations=$3 device=${4:-CPU}
shift "$#"
for old in acc.log results.json detections.jsonl result_Files time_Result; do
  [ ! -e "$old" ] || { echo "run_infer_cpp.sh: $old is here from an earlier run; move it, or go to another folder" >&2; exit 1; }
done
# What is wrong is said before minutes of building.
case $model in
  *.mindir | *.air | *.om) die "$model: MindSpore's own programs read it, this one reads .onnx and .xml; export the weights
again, with --to onnx or --file_format ONNX" ;;
  *.onnx | *.xml | *.ncnn) ;;
  *) die "$model: expected what lookonce export writes, .onnx or .xml; lookonce export $model makes one" ;;
esac
for given in "$model" "$images" "$annotations"; do
  [ -e "$given" ] || die "$given: no such file or folder"
done
case $device in
  *[!0-9]*) set -- --device "$device" ;;
  *)
    for node in /dev/davinci[0-9]*; do [ -e "$node" ] || die "$device: a number means an Ascend device, and this machine has
none; leave it out for the processor, or type CPU, GPU or NPU, OpenVINO's names"; done
    set -- --runtime onnxruntime --device "cann:$device" ;;
esac
"$root/run" cpp build >&2
# From 0.001 up, as every score of lookonce's evaluation counts.
"$root/cpp/build/release/lookonce-infer" "$model" "$images" --annotations "$annotations" --output . --threshold 0.001 \
  --no-pictures --raw --timing --warmup 3 "$@"
unset FORCE_COLOR
trap 'rm -f .acc.log.new' EXIT
echo "=============coco eval reulst=========" >.acc.log.new
"$root/run" lookonce eval --results results.json --data "$annotations" --images "$images" --output acc --resamples 0 >>.acc.log.new
mv .acc.log.new acc.log # whole, or not there
cat acc.log
