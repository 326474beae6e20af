"""Export to MindIR, what MindSpore runs on Ascend 310 and with MindSpore Lite: raw heads of the normalised picture."""

import tempfile
from pathlib import Path

from torch import nn

from lookonce.config.record import ModelRecord
from lookonce.errors import SettingsError
from lookonce.export.metadata import describe
from lookonce.export.plan import ExportPlan
from lookonce.runtimes.exported import INTERFACE_KEY, RECORD_KEY, Interface, raw_names
from lookonce.runtimes.mindir import run_program, user_info_bytes
from lookonce.weights.mindspore import network_to_ckpt


def write_mindir(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Through a .ckpt into MindSpore, which writes the file; the record goes into the file's user_info."""
    if plan.dynamic_size:
        raise SettingsError("dynamic_size: a MindIR takes one size; leave it out, and name another with --image-size")
    batch = plan.batch or 1
    state = {name: array.detach().cpu() for name, array in model.state_dict().items()}
    interface = Interface(takes="normalised", batch=batch, outputs=raw_names(record))
    told = {RECORD_KEY: describe(record, plan).model_dump_json(), INTERFACE_KEY: interface.model_dump_json()}
    with tempfile.TemporaryDirectory(prefix="lookonce-") as folder:
        ckpt, mindir = Path(folder) / "network.ckpt", Path(folder) / "network.mindir"
        ckpt.write_bytes(network_to_ckpt(record, state, str(path)))
        height, width = record.image_size
        run_program("export", ckpt, mindir, "--batch", batch, "--height", height, "--width", width)
        path.write_bytes(mindir.read_bytes() + user_info_bytes(told))
