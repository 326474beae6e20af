"""Export to MindIR, the format of MindSpore on Ascend 310 and of MindSpore Lite.

Input: a normalised image. Outputs: decoded boxes and scores and the raw heads, or the raw heads only.
"""

import json
from pathlib import Path
from typing import Any

from torch import nn

from lookonce.errors import SettingsError
from lookonce.exporters.metadata import describe, texts_of
from lookonce.exporters.plan import ExportPlan
from lookonce.runtimes.exported import DECODED_OUTPUTS, Interface, raw_names
from lookonce.runtimes.mindir import run_program, user_info_bytes
from lookonce.settings.record import ModelRecord
from lookonce.storage import temporary_folder
from lookonce.weights.mindspore import network_to_ckpt


def write_mindir(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Converts the weights to a .ckpt, from which MindSpore writes the file; stores the record in its user_info."""
    if plan.dynamic_size:
        raise SettingsError(
            "dynamic_size: true; expected false, a MindIR has one size; set another size with --image-size",
            setting="dynamic_size",
        )
    batch = plan.batch or 1
    state = {name: array.detach().cpu() for name, array in model.state_dict().items()}
    decoded = DECODED_OUTPUTS if plan.outputs == "decoded" else ()
    interface = Interface(takes="normalised", batch=batch, outputs=(*decoded, *raw_names(record)))
    with temporary_folder() as folder:
        ckpt, mindir, boxes = (folder / name for name in ("network.ckpt", "network.mindir", "boxes.json"))
        ckpt.write_bytes(network_to_ckpt(record, state, str(path)))
        height, width = record.image_size
        boxes.write_text(json.dumps(heads_of(record)), encoding="utf-8")
        size = ("--batch", batch, "--height", height, "--width", width)
        run_program("export", ckpt, mindir, *size, *(("--boxes", boxes) if decoded else ()))
        path.write_bytes(mindir.read_bytes() + user_info_bytes(texts_of(describe(record, plan), interface)))


def heads_of(record: ModelRecord) -> list[dict[str, Any]]:
    """Arguments of mindspore_program.BoxesOfHead, which decodes the boxes, for each head."""
    return [
        {
            "anchors": record.head_anchors(head),
            "stride": stride,
            "center_scale": record.dialect.center_scales[stride],
            "size_rule": record.dialect.size_rule,
        }
        for head, stride in enumerate(record.strides)
    ]
