#!/bin/sh
# run_infer_cpp.sh MODEL IMAGES ANNOTATIONS [DEVICE]: build the C++ program, run it on a folder, evaluate the result.
# MODEL is a file that `lookonce export` wrote (.onnx or .xml); ANNOTATIONS is a COCO file. The script writes into the
# current folder: result_Files/ (raw head outputs), time_Result/test_perform_static.txt, results.json, detections.jsonl,
# and acc.log with COCO's twelve lines, which appears only when it is complete. DEVICE is an OpenVINO device (CPU, GPU,
# NPU; default CPU). A number, as in the model zoo document, is an Ascend device; it needs a C++ program that was built
# with ONNX Runtime and CANN (docs/cpp.md).
# Example: scripts/run_infer_cpp.sh net.onnx data/coco/val2017 data/coco/annotations/instances_val2017.json
set -eu
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
die() { echo "run_infer_cpp.sh: $*" >&2; exit 2; }
[ $# -ge 3 ] && [ $# -le 4 ] || { sed -n '2,/^set/s/^# //p' "$0" >&2; exit 2; }
model=$1 images=$2 annotations=$3 device=${4:-CPU}
shift "$#"
for old in acc.log results.json detections.jsonl result_Files time_Result; do
  [ ! -e "$old" ] || { echo "run_infer_cpp.sh: $old: exists from an earlier run; move it, or use another folder" >&2; exit 1; }
done
# Invalid arguments are reported before the build, which takes minutes.
case $model in
  *.mindir | *.air | *.om) die "$model: a MindSpore format; expected .onnx or .xml; export the weights again with \
--to onnx or --file_format ONNX" ;;
  *.onnx | *.xml | *.ncnn) ;;
  *) die "$model: expected an exported file, .onnx or .xml; run lookonce export $model" ;;
esac
for given in "$model" "$images" "$annotations"; do
  [ -e "$given" ] || die "$given: no such file or folder"
done
case $device in
  *[!0-9]*) set -- --device "$device" ;;
  *)
    for node in /dev/davinci[0-9]*; do [ -e "$node" ] || die "DEVICE: $device; a number selects an Ascend device, and this \
machine has none; expected CPU, GPU or NPU (default CPU)"; done
    set -- --runtime onnxruntime --device "cann:$device" ;;
esac
"$root/run" cpp build >&2
# 0.001 is the confidence threshold of lookonce's evaluation.
"$root/cpp/build/release/lookonce-infer" "$model" "$images" --annotations "$annotations" --output . --threshold 0.001 \
  --no-images --raw --timing --warmup 3 "$@"
unset FORCE_COLOR
trap 'rm -f .acc.log.new' EXIT
echo "=============coco eval reulst=========" >.acc.log.new
"$root/run" lookonce eval --results results.json --data "$annotations" --images "$images" --output acc --resamples 0 >>.acc.log.new
mv .acc.log.new acc.log # complete, or not there
cat acc.log
