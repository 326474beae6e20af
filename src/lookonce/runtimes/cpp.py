"""Runs exported files with the C++ program as a subprocess that reads image files, as a user would."""

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import MissingExtra, WeightsError
from lookonce.runtimes.onnx import OnnxRuntime
from lookonce.settings.record import ModelRecord
from lookonce.storage import temporary_folder

PROGRAM = "lookonce-infer"
BUILT = Path(__file__).parents[3] / "cpp" / "build" / "release" / PROGRAM  # in a checkout


class MissingProgram(MissingExtra):
    """The C++ program was not found; pip does not install it."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "")
        self.args = (f"{what}: the C++ program {PROGRAM} was not found; build it with ./run cpp, or add it to PATH",)


class CppRuntime:
    """An .onnx file as a Runtime (see runtimes.base). Each call starts one process and passes images as PNG files.

    The images have the network's input size and are not resized; boxes are in its pixels, clipped to it.
    """

    name = "cpp"
    record: ModelRecord
    takes_any_size = False

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        found = str(BUILT) if BUILT.is_file() else shutil.which(PROGRAM)
        if found is None:
            raise MissingProgram(str(path))
        self.program = found
        self.record = OnnxRuntime(self.path, threads=1).record

    def detect(
        self,
        canvases: NDArray[np.uint8],
        *,
        multi_label: bool | None = None,
        agnostic: bool | None = None,
        **thresholds: float,
    ) -> list[Detections]:
        """See runtimes.base.Runtime.detect."""
        selection = self.record.thresholds.selection(multi_label, agnostic)
        options = {
            "threshold": thresholds["score_threshold"],
            "iou-threshold": thresholds["iou_threshold"],
            "max-detections": thresholds["max_detections"],
            "multi-label": str(selection["multi_label"]).lower(),
            "agnostic": str(selection["agnostic"]).lower(),
        }
        with temporary_folder() as scratch:
            images, output = scratch / "images", scratch / "output"
            images.mkdir()
            for number, canvas in enumerate(canvases):
                content = cv2.imencode(".png", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))[1]
                (images / f"{number:06}.png").write_bytes(content.tobytes())
            flags = [f"--{name}={value}" for name, value in options.items()]
            command: list[str | Path] = [self.program, self.path, images, "--output", output, *flags, "--no-images"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                reason = done.stderr.strip() or f"exit status {done.returncode}"
                raise WeightsError.at(self.path, f"{PROGRAM} failed: {reason}")
            lines = (output / "detections.jsonl").read_text(encoding="utf-8").splitlines()
        detections = []
        for found in (json.loads(line)["detections"] for line in lines):
            boxes_xyxy = np.array([one["box_xyxy"] for one in found], np.float32).reshape(-1, 4)
            scores, labels = ([one[name] for one in found] for name in ("score", "label"))
            detections.append(
                Detections(
                    boxes_xyxy=boxes_xyxy, scores=np.array(scores, np.float32), labels=np.array(labels, np.int64)
                )
            )
        return detections
