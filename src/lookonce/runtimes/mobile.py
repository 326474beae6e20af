"""Runs exported files with ExecuTorch and LiteRT (TensorFlow Lite); the record is in a .json file beside them.

Their packages are not extras of lookonce; see exporters/mobile.py.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import WeightsError
from lookonce.parsed import parse_json
from lookonce.runtimes.exported import Engine, ExportedRuntime, described
from lookonce.storage import read_text_file


class DescribedBesideRuntime(ExportedRuntime):
    """Common part: a .json file beside the exported one; images run one after another."""

    side_by_side = False

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        path = Path(path)
        beside = path.with_suffix(".json")
        try:
            texts = {key: json.dumps(value) for key, value in parse_json(read_text_file(beside)).items()}
        except (OSError, ValueError, AttributeError) as error:
            problem = f"{beside.name} beside it cannot be read ({error}); copy both files, or export again"
            raise WeightsError.at(path, problem) from error
        super().__init__(path, *described(texts, path, self.name), threads=threads)


class ExecuTorchRuntime(DescribedBesideRuntime):
    """A .pte program."""

    name = "executorch"

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        assert at_once == 1 <= threads  # see side_by_side; ExecuTorch uses its own threads
        torch, runtime = import_module("torch"), import_module("executorch.runtime")
        places = self.places_of(outputs)
        method = runtime.Runtime.get().load_program(self.path).load_method("forward")

        def run(images: NDArray[Any], _thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            values = method.execute([torch.from_numpy(np.ascontiguousarray(images))])
            return [values[place].numpy().copy() for place in places]

        return run


class LiteRtRuntime(DescribedBesideRuntime):
    """A .tflite file."""

    name = "litert"

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        assert at_once == 1  # see side_by_side
        package = import_module("ai_edge_litert.interpreter")
        runner = package.Interpreter(model_path=str(self.path), num_threads=threads).get_signature_runner()
        (given,) = runner.get_input_details()
        places = self.places_of(outputs)

        def run(images: NDArray[Any], _thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            values = runner(**{given: images})
            return [np.array(values[f"output_{place}"]) for place in places]

        return run
