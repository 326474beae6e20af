"""Runs exported folders with ncnn, Tencent's library for phones and single-board computers, on the CPU."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import WeightsError
from lookonce.runtimes.exported import INTERFACE_KEY, RECORD_KEY, Engine, ExportedRuntime, described
from lookonce.runtimes.kinds import NCNN_PARAM
from lookonce.storage import read_text_file

WEIGHTS_FILE = "model.ncnn.bin"
RECORD_FILE = "record.json"
INTERFACE_FILE = "interface.json"


class NcnnRuntime(ExportedRuntime):
    """A folder with NCNN_PARAM, WEIGHTS_FILE, RECORD_FILE and INTERFACE_FILE."""

    name = "ncnn"

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        path, texts = Path(path), dict[str, str]()
        for key, name in ((RECORD_KEY, RECORD_FILE), (INTERFACE_KEY, INTERFACE_FILE)):
            with suppress(OSError, UnicodeDecodeError):
                texts[key] = read_text_file(path / name)
        super().__init__(path, *described(texts, path, "ncnn"), threads=threads)

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        ncnn = import_module("ncnn")
        net = ncnn.Net()
        net.opt.num_threads = threads if at_once == 1 else 1
        net.opt.use_vulkan_compute = False
        # By default ncnn rounds activations to 16 bits on CPUs that support it.
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = False
        for load, name in ((net.load_param, NCNN_PARAM), (net.load_model, WEIGHTS_FILE)):
            if not (self.path / name).is_file() or load(str(self.path / name)) != 0:
                raise WeightsError.at(
                    self.path, f"ncnn cannot read its {name}; export it again with `lookonce export WEIGHTS --to ncnn`"
                )

        def run(images: NDArray[Any], _thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            planes = np.ascontiguousarray(images[0])  # the Mat refers to its memory, so it must outlive the Mat
            with net.create_extractor() as extractor:
                extractor.input("images", ncnn.Mat(planes))
                return [np.array(extractor.extract(name)[1])[None] for name in outputs]

        return run
