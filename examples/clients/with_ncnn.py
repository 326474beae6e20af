"""ncnn: python with_ncnn.py MODEL.ncnn IMAGE (pip install ncnn opencv-python-headless). MODEL.ncnn is a folder."""

import json
import sys
from pathlib import Path

import ncnn
import numpy as np
from steps import decode, letterbox, read_image, select, show

if len(sys.argv) != 3:
    sys.exit(__doc__)
folder, image = Path(sys.argv[1]), sys.argv[2]
record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
network = ncnn.Net()
# By default ncnn rounds values between layers to 16 bits on processors that support it.
network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
network.load_param(str(folder / "model.ncnn.param"))
network.load_model(str(folder / "model.ncnn.bin"))
canvas, to_image = letterbox(read_image(image), record)
planes = np.ascontiguousarray(canvas.transpose(2, 0, 1), np.float32)  # 0..255; the file normalises them
with network.create_extractor() as extractor:
    extractor.input("images", ncnn.Mat(planes))  # the Mat refers to the array, which must outlive it
    heads = [np.array(extractor.extract(f"raw_stride{stride}")[1]) for stride in record["strides"]]
boxes, scores, labels = select(*decode(heads, record), record)
show(to_image(boxes), scores, labels, record)
