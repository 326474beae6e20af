"""Export to MindIR, what MindSpore runs on Ascend 310 and with MindSpore Lite: of the normalised picture the boxes and
scores, and the raw heads; or those alone."""

import json
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from lookonce.config.record import ModelRecord
from lookonce.errors import SettingsError
from lookonce.export.metadata import describe
from lookonce.export.plan import ExportPlan
from lookonce.runtimes.exported import DECODED_OUTPUTS, INTERFACE_KEY, RECORD_KEY, Interface, raw_names
from lookonce.runtimes.mindir import run_program, user_info_bytes
from lookonce.weights.mindspore import network_to_ckpt


def write_mindir(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Through a .ckpt into MindSpore, which writes the file; the record goes into the file's user_info."""
    if plan.dynamic_size:
        raise SettingsError(
            "dynamic_size: a MindIR takes one size; leave it out, and name another with --image-size",
            setting="dynamic_size",
        )
    batch = plan.batch or 1
    state = {name: array.detach().cpu() for name, array in model.state_dict().items()}
    decoded = DECODED_OUTPUTS if plan.outputs == "decoded" else ()
    interface = Interface(takes="normalised", batch=batch, outputs=(*decoded, *raw_names(record)))
    told = {RECORD_KEY: describe(record, plan).model_dump_json(), INTERFACE_KEY: interface.model_dump_json()}
    with tempfile.TemporaryDirectory(prefix="lookonce-") as folder:
        ckpt, mindir, boxes = (Path(folder) / name for name in ("network.ckpt", "network.mindir", "boxes.json"))
        ckpt.write_bytes(network_to_ckpt(record, state, str(path)))
        height, width = record.image_size
        boxes.write_text(json.dumps(heads_of(record)), encoding="utf-8")
        size = ("--batch", batch, "--height", height, "--width", width)
        run_program("export", ckpt, mindir, *size, *(("--boxes", boxes) if decoded else ()))
        path.write_bytes(mindir.read_bytes() + user_info_bytes(told))


def heads_of(record: ModelRecord) -> list[dict[str, Any]]:
    """How the boxes of each head are made, in the words of mindspore_program.BoxesOfHead."""
    return [
        {
            "anchors": record.head_anchors(head),
            "stride": stride,
            "center_scale": record.dialect.center_scales[stride],
            "size_rule": record.dialect.size_rule,
        }
        for head, stride in enumerate(record.strides)
    ]
