"""Runs exported .onnx files with OpenCV (cv2.dnn), which is part of every installation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.errors import WeightsError
from lookonce.runtimes.exported import (
    DECODED_OUTPUTS,
    INNER_NAMES,
    SELECTED,
    Engine,
    ExportedRuntime,
    raw_names,
)
from lookonce.runtimes.onnx import OnnxRuntime, read_onnx, with_outputs


class OpenCvRuntime(ExportedRuntime):
    """An .onnx file, run by OpenCV.

    OpenCV treats inputs with a default as constants, so the thresholds would be fixed. For a file whose outputs are
    detections, the decoded boxes inside its graph are used instead. OpenCV's thread number is global to the process,
    and a network serves one caller at a time.
    """

    name = "opencv"
    side_by_side = False

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        path = Path(path)
        known = OnnxRuntime(path, threads=1)
        interface, self._inside = known.interface, dict[str, str]()
        if interface.outputs in SELECTED:
            interface = interface.model_copy(update={"outputs": DECODED_OUTPUTS})
            self._inside = INNER_NAMES
        self._own_outputs = known.interface.outputs
        super().__init__(path, known.record, interface, threads=threads)

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        assert at_once == 1  # see side_by_side
        names = [self._inside.get(name, name) for name in outputs]
        content = read_onnx(self.path).getvalue()
        if tuple(names) != self._own_outputs:
            content = with_outputs(content, names, raw_names(self.record))
        try:
            net = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
        except cv2.error as error:
            problem = f"OpenCV {cv2.__version__} cannot run it ({error}); use another runtime"
            raise WeightsError.at(self.path, problem) from error

        def run(images: NDArray[Any], _thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            cv2.setNumThreads(threads)
            net.setInput(images, "images")
            return [np.array(value) for value in net.forward(names)]

        return run
