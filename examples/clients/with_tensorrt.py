"""TensorRT 10 on an NVIDIA GPU: python with_tensorrt.py MODEL-raw.onnx IMAGE (pip install tensorrt cuda-python).

The file is that of `lookonce export WEIGHTS --outputs raw --no-preprocess --batch 1`. No test of lookonce runs this
client: no GPU is at hand where they run.
"""

import sys

import numpy as np
import tensorrt as trt
from cuda.bindings import runtime as cuda
from steps import decode, letterbox, normalise, read_image, record_in, select, show


def checked(result):
    error, *values = result
    if error != cuda.cudaError_t.cudaSuccess:
        raise RuntimeError(error)
    return values[0] if values else None


if len(sys.argv) != 3:
    sys.exit(__doc__)
model, image = sys.argv[1:]
record = record_in(model)
logger = trt.Logger(trt.Logger.WARNING)
builder = trt.Builder(logger)
network = builder.create_network(0)
parser = trt.OnnxParser(network, logger)
if not parser.parse_from_file(model):
    raise SystemExit(parser.get_error(0))
config = builder.create_builder_config()
config.clear_flag(trt.BuilderFlag.TF32)  # which rounds the products of float32 to 10 bits
engine = trt.Runtime(logger).deserialize_cuda_engine(builder.build_serialized_network(network, config))
context = engine.create_execution_context()

canvas, to_image = letterbox(read_image(image), record)
arrays = {"images": normalise(canvas, record)}
for stride in record["strides"]:
    name = f"raw_stride{stride}"
    arrays[name] = np.empty(tuple(engine.get_tensor_shape(name)), np.float32)
places = {name: checked(cuda.cudaMalloc(array.nbytes)) for name, array in arrays.items()}
for name, place in places.items():
    context.set_tensor_address(name, place)
host_to_device = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
device_to_host = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
checked(cuda.cudaMemcpy(places["images"], arrays["images"].ctypes.data, arrays["images"].nbytes, host_to_device))
context.execute_async_v3(0)
checked(cuda.cudaDeviceSynchronize())
heads = []
for name, array in list(arrays.items())[1:]:
    checked(cuda.cudaMemcpy(array.ctypes.data, places[name], array.nbytes, device_to_host))
    heads.append(array[0])
boxes, scores, labels = select(*decode(heads, record), record)
show(to_image(boxes), scores, labels, record)
