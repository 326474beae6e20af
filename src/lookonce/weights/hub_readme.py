"""The README.md of a checkpoint on a model hub, with the metadata that the hub searches."""

import json

from lookonce.settings.record import ModelRecord


def card_text(record: ModelRecord, name: str) -> str:
    """The record in Markdown. The front matter is YAML with JSON values, which are valid YAML."""
    height, width = record.image_size
    head = {"library_name": "lookonce", "pipeline_tag": "object-detection", "tags": ["yolov3-tiny", "object-detection"]}
    anchors = "; ".join(
        f"stride {stride}: " + ", ".join(f"{w:g}x{h:g}" for w, h in record.head_anchors(index))
        for index, stride in enumerate(record.strides)
    )
    rows = {
        "classes": f"{record.num_classes}: {', '.join(record.class_names)}",
        "input": f"{width}x{height}, {record.preprocessing.resize}",
        "dialect": f"{record.dialect.name}, {record.dialect.activation}",
        "anchors": anchors,
        "thresholds": f"score {record.thresholds.score:g}, IoU {record.thresholds.iou:g}"
        f"{'' if record.thresholds.multi_label else ', a box has one class'}"
        f"{', class-agnostic NMS' if record.thresholds.agnostic else ''}",
        **{name: f"{value:.4f}" for name, value in record.metrics.items()},
        **{f"version of {name}": value for name, value in record.versions.items()},
    }
    cells = {key: value.replace("|", "\\|").replace("\n", " ") for key, value in rows.items()}
    table = "".join(f"| {key} | {value} |\n" for key, value in cells.items())
    fields = "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items())
    return (
        f"---\n{fields}---\n\n# {name}\n\nA YOLOv3-Tiny detector. The files are a checkpoint folder of lookonce: "
        "`lookonce pull` fetches them, `lookonce predict` and `lookonce.load` use them.\n\n"
        f"| | |\n|---|---|\n{table}"
    )
