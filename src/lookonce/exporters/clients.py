"""The table of clients, programs that run exported files: the form of the files, and how far that is checked.

The further files of a client (configuration, or a short program) are the templates `client_files/CLIENT/NAME.in`, with
the names of `_values` as $name.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Template
from typing import Literal
from xml.sax.saxutils import quoteattr

from lookonce.errors import WeightsError
from lookonce.exporters.plan import ExportPlan
from lookonce.settings.record import ModelRecord

LABELS = "labels.txt"  # class names, one per line
NOT_RUN = "written, not run"


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client. text: what it is; checked_by: the code of the client that tests run on its files, or NOT_RUN.

    to: onnx; darknet, .cfg and .weights; or web, the folder of `lookonce page`. model: path of the .onnx file in the
    folder; plan: its options. numbered: each line of LABELS begins with its number. output_suffix: put after the names
    of the outputs. decodes: the client decodes raw heads itself, as Darknet does.
    """

    text: str
    checked_by: str
    to: Literal["onnx", "darknet", "web"] = "onnx"
    model: str = "model.onnx"
    plan: ExportPlan = field(default_factory=ExportPlan)
    numbered: bool = False
    output_suffix: str = ""
    decodes: bool = False


CLIENTS: dict[str, Client] = {
    "frigate": Client(
        text="Frigate 0.16 and later: model, labelmap and a piece of config.yml",
        checked_by="its own post-processing and model configuration, from its source of July 2026",
        plan=ExportPlan(outputs="packed", batch=1),
        numbered=True,
    ),
    "opencv4": Client(
        text="OpenCV 4.10 and later, which cannot load the default file: model and a program",
        checked_by="OpenCV 4.10, 4.12 and 4.14 run the program",
        plan=ExportPlan(outputs="decoded", batch=1),
    ),
    "triton": Client(
        text="Triton Inference Server: a folder of a model repository, batched by the server",
        checked_by="tritonclient 2.73 parses config.pbtxt; the server was not run",
        model="1/model.onnx",
        plan=ExportPlan(outputs="padded"),
    ),
    "deepstream": Client(
        text="DeepStream with DeepStream-Yolo: Darknet's .cfg and .weights, and its configuration",
        checked_by="OpenCV 4 reads .cfg and .weights; DeepStream was not run",
        to="darknet",
    ),
    "tensorrt": Client(
        text="TensorRT 10: a model of fixed size without non-maximum suppression, and a script that builds the engine",
        checked_by=NOT_RUN,
        plan=ExportPlan(outputs="decoded", batch=1, preprocess=False),
    ),
    "oak": Client(
        text="OAK cameras (DepthAI 3): model and config.json of an archive for Luxonis' ModelConverter",
        checked_by="DepthAI 3.12 reads the archive and decodes the heads; no camera was at hand",
        plan=ExportPlan(outputs="raw", batch=1, preprocess=False),
        output_suffix="_yolo",
        decodes=True,
    ),
    "rknn": Client(
        text="NPUs of Rockchip: model with raw heads, and a program that converts it",
        checked_by="rknn-toolkit2 2.5, once by hand: converted, simulated; no NPU was at hand",
        plan=ExportPlan(outputs="raw", batch=1, preprocess=False),
    ),
    "litert": Client(
        text="LiteRT in INT8 (in float: --to tflite): model with raw heads, and a program that converts it",
        checked_by="onnx2tf 1.29 and LiteRT 2.1, once by hand: converted and run; no AP was measured in INT8",
        plan=ExportPlan(outputs="raw", batch=1, preprocess=False),
    ),
    "cvat": Client(
        text="CVAT: a function for cvat-cli, which labels a task automatically",
        checked_by="cvat-sdk 2.80, which loads and calls the function",
    ),
    "label-studio": Client(
        text="Label Studio: the labelling interface of these classes; lookonce predict --as-labels label-studio",
        checked_by="label-studio-sdk 2.0, which parses the interface and validates pre-labels against it",
    ),
    "home-assistant": Client(
        text="Home Assistant with HASS-Deepstack-object, as a client of lookonce serve",
        checked_by=NOT_RUN,
    ),
    "web": Client(
        text="browsers: the folder of lookonce page",
        checked_by="Chromium runs the page",
        to="web",
    ),
}


def require_decodable(client: Client, record: ModelRecord) -> None:
    """WeightsError if the client decodes raw heads itself, and in another way than the network was trained for."""
    dialect = record.dialect
    plain = dialect.size_rule == "exp" and all(scale == 1 for scale in dialect.center_scales.values())
    if client.decodes and not plain:
        raise WeightsError(
            f"dialect: {dialect.name}; this client decodes boxes as Darknet does; train with --dialect darknet"
        )


def client_files(name: str, record: ModelRecord) -> dict[str, str]:
    """File name -> content of the files beside the model: LABELS and the client's own."""
    client = CLIENTS[name]
    lines = (f"{number} {label}" if client.numbered else label for number, label in enumerate(record.class_names))
    files = {LABELS: "".join(f"{line}\n" for line in lines)}
    values = _values(record, client.output_suffix)
    folder = resources.files("lookonce.exporters") / "client_files" / name
    for path in folder.iterdir() if folder.is_dir() else ():
        text = Template(path.read_text(encoding="utf-8")).substitute(values)
        files[path.name.removesuffix(".in")] = text
    return files


def _values(record: ModelRecord, output_suffix: str) -> dict[str, str]:
    """Name in a template -> text. Lists are JSON, which YAML and Python read too."""
    (height, width), preprocessing, thresholds = record.image_size, record.preprocessing, record.thresholds
    heads = sorted(zip(record.strides, record.masks, strict=True))  # by stride
    names = [f"raw_stride{stride}{output_suffix}" for stride, _ in heads]
    outputs = [
        {"name": name, "dtype": "float32", "shape": [1, len(mask) * (5 + record.num_classes), height // s, width // s]}
        for name, (s, mask) in zip(names, heads, strict=True)
    ]
    return {
        "height": str(height),
        "width": str(width),
        "letterbox": str(preprocessing.resize == "letterbox"),
        "keeps_aspect": str(int(preprocessing.resize == "letterbox")),
        "resize_mode": preprocessing.resize.upper(),
        "pad_value": str(preprocessing.pad_value),
        "interpolation": preprocessing.interpolation.upper(),
        "mean": _json(list(preprocessing.mean)),
        "std": _json(list(preprocessing.std)),
        "mean_255": _json([round(255 * value, 6) for value in preprocessing.mean]),
        "std_255": _json([round(255 * value, 6) for value in preprocessing.std]),
        "color_order": preprocessing.color_order,
        "is_bgr": str(preprocessing.color_order == "BGR"),
        "score": str(thresholds.score),
        "score_percent": str(max(round(100 * thresholds.score), 10)),  # 10 is the integration's lowest
        "iou": str(thresholds.iou),
        "max_detections": str(thresholds.max_detections),
        "multi_label": str(thresholds.multi_label),
        "agnostic": str(thresholds.agnostic),
        "names": _json(record.class_names),
        "num_classes": str(record.num_classes),
        "strides": _json([stride for stride, _ in heads]),
        "anchors": _json([[record.anchors[row] for row in mask] for _, mask in heads]),
        "output_names": _json(names),
        "outputs": _json(outputs),
        "label_elements": "\n".join(f"    <Label value={quoteattr(name)}/>" for name in record.class_names),
        "targets": "\n".join(f"      - target: {_json(name.lower())}" for name in record.class_names),
    }


def _json(value: Sequence[object]) -> str:
    return json.dumps(value, ensure_ascii=False)
