"""Runs files of `lookonce export --for` with the code of their client: `python client_programs.py CLIENT FOLDER IMAGE`.

It runs in the environment of these programs (`./run clients`), and prints the detections as JSON, [[class, score, left,
top, right, bottom], ...], best first. Boxes are pixels of IMAGE, which triton, frigate and oak do not resize.
For label-studio, IMAGE is a file of tasks.
"""

import json
import os
import sys
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import cv2
import numpy as np
import onnxruntime


def loaded(file):
    spec = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs_of(model, images):
    session = onnxruntime.InferenceSession(model.read_bytes())
    return {
        output.name: value
        for output, value in zip(session.get_outputs(), session.run(None, {"images": images}), strict=True)
    }


def read_rgb(image):
    return cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)


def opencv4(folder, image):
    assert cv2.__version__.startswith("4.")
    program = loaded(folder / "detect.py")
    for box, score, label in zip(*program.detect(cv2.imread(str(image))), strict=True):
        yield program.NAMES[label], score, *box


def triton(folder, image):
    """config.pbtxt as the server's own message; its shapes are those of two images at once."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
    pixels = read_rgb(image)
    assert config.max_batch_size > 1
    assert list(config.input[0].dims) == list(pixels.shape)
    values = outputs_of(folder / "1" / "model.onnx", np.stack([pixels[::-1], pixels]))
    kinds = {"TYPE_FP32": np.float32, "TYPE_INT64": np.int64}
    assert sorted(values) == sorted(output.name for output in config.output)
    for output in config.output:
        value = values[output.name]
        assert value.dtype == kinds[DataType.Name(output.data_type)]
        assert value.ndim == len(output.dims) + 1
        assert all(wanted in (-1, side) for wanted, side in zip(output.dims, value.shape[1:], strict=True))
    names = (folder / "labels.txt").read_text().splitlines()
    count = int(values["num_detections"][1, 0])
    assert (values["labels"][1, count:] == -1).all()
    for label, score, box in zip(
        *(values[name][1, :count] for name in ("labels", "scores", "boxes_xyxy")), strict=True
    ):
        yield names[label], score, *box


def frigate(folder, image):
    """Frigate's own post-processing, from the folder of its source in $FRIGATE_SOURCE."""
    sys.path.insert(0, os.environ["FRIGATE_SOURCE"])
    import yaml
    from frigate.detectors.detector_config import ModelConfig
    from frigate.util.model import post_process_yolo

    config = yaml.safe_load((folder / "config.yml").read_text())["model"]
    model = ModelConfig(**{**config, "labelmap_path": str(folder / "labels.txt")})
    (predictions,) = outputs_of(folder / "model.onnx", read_rgb(image)[None]).values()
    for label, score, top, left, bottom, right in post_process_yolo([predictions], model.width, model.height):
        if score > 0:
            box = np.array([left, top, right, bottom]) * ([model.width, model.height] * 2)
            yield model.merged_labelmap[int(label)], score, *box


def oak(folder, image):
    """DepthAI's parser of detections on this machine, given the archive and the raw heads."""
    import depthai

    loaded(folder / "archive.py")
    pixels = read_rgb(image)
    values = outputs_of(folder / "model.onnx", (pixels.astype(np.float32) / 255).transpose(2, 0, 1)[None])
    with depthai.Pipeline(False) as pipeline:
        parser = pipeline.create(depthai.node.DetectionParser)
        parser.setNNArchive(depthai.NNArchive(str(folder / "model.tar.xz")))
        parser.setStrides([16, 32])
        parser.setRunOnHost(True)
        given, found = parser.input.createInputQueue(), parser.out.createOutputQueue()
        pipeline.start()
        data = depthai.NNData()
        for name, value in values.items():
            data.addTensor(name, np.ascontiguousarray(value[0]), depthai.TensorInfo.StorageOrder.CHW)
        data.setTransformation(depthai.ImgTransformation(*pixels.shape[1::-1]))
        given.send(data)
        height, width = pixels.shape[:2]
        for one in sorted(found.get(timedelta(seconds=30)).detections, key=lambda one: -one.confidence):
            yield (
                one.labelName,
                one.confidence,
                *(one.xmin * width, one.ymin * height, one.xmax * width, one.ymax * height),
            )


def cvat(folder, image):
    """The function as cvat-cli calls it, and its rectangles as they would be sent to a task with these labels."""
    import logging

    from cvat_sdk import models
    from cvat_sdk.auto_annotation import DetectionFunctionSpec, driver
    from PIL import Image

    function = loaded(folder / "detector.py")
    assert isinstance(function.spec, DetectionFunctionSpec)
    names = (folder / "labels.txt").read_text().splitlines()
    labels = [models.Label(name=name, id=100 + number, type="rectangle") for number, name in enumerate(names)]
    for label in labels:
        label.attributes, label.sublabels = [], []
    mapper = driver._AnnotationMapper(
        logging.getLogger(), function.spec.labels, labels, allow_unmatched_labels=False, conv_mask_to_poly=False
    )
    context = driver._DetectionFunctionContextImpl(frame_name=image.name, conf_threshold=0.3)
    _, shapes = mapper.validate_and_remap(function.detect(context, Image.open(image)), 7)
    for shape in shapes:
        assert (shape.type.value, shape.frame) == ("rectangle", 7)
        yield names[shape.label_id - 100], None, *shape.points


def label_studio(folder, tasks):
    """The labelling interface, and pre-labels as its server validates them at an import."""
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface((folder / "label_config.xml").read_text(encoding="utf-8"))
    interface.validate()
    for task in json.loads(tasks.read_text(encoding="utf-8")):
        assert interface.validate_task({"data": task["data"]})
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction, return_errors=True) == []
        for result in prediction["result"]:
            sides = np.array([result["original_width"], result["original_height"]])
            x, y, width, height = (result["value"][key] / 100 for key in ("x", "y", "width", "height"))
            box = np.array([[x, y], [x + width, y + height]]) * sides
            yield result["value"]["rectanglelabels"][0], result["score"], *box.ravel()


CLIENTS = {
    "label-studio": label_studio,
    "opencv4": opencv4,
    "triton": triton,
    "frigate": frigate,
    "oak": oak,
    "cvat": cvat,
}

if __name__ == "__main__":
    rows = CLIENTS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps([[name, *(value if value is None else float(value) for value in row)] for name, *row in rows]))
