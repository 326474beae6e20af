"""Runs TorchScript archives and torch.export packages: the network as a PyTorch program, without its source code.

Both are programs that PyTorch executes, so a file from an untrusted source can run any code. Pickled objects other than
plain tensors are refused before PyTorch loads them.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from lookonce.errors import WeightsError, first_line
from lookonce.runtimes.exported import INTERFACE_KEY, RECORD_KEY, Engine, ExportedRuntime, described
from lookonce.runtimes.pytorch import use_threads

Function = Callable[[torch.Tensor], Sequence[torch.Tensor]]


class ProgramRuntime(ExportedRuntime):
    """Common part. PyTorch's thread number is global to the process, so images run one after another."""

    side_by_side = False

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        path = Path(path)
        extra: dict[str, Any] = {RECORD_KEY: "", INTERFACE_KEY: ""}
        self._function = _load(path, self.name, extra)
        texts = {key: text.decode() if isinstance(text, bytes) else text for key, text in extra.items()}
        super().__init__(path, *described(texts, path, self.name), threads=threads)

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        assert at_once == 1  # see side_by_side
        places = self.places_of(outputs)

        def run(images: NDArray[Any], _thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            use_threads(threads)
            with torch.inference_mode():
                values = self._function(torch.from_numpy(images))
            return [values[place].numpy() for place in places]

        return run


class TorchScriptRuntime(ProgramRuntime):
    """A TorchScript archive."""

    name = "torchscript"


class TorchExportRuntime(ProgramRuntime):
    """A torch.export package."""

    name = "torch-export"


def _load(path: Path, name: str, extra: dict[str, Any]) -> Function:
    """The program; fills the values of `extra` with the texts stored in the file."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch.export replaces TorchScript, PyTorch warns
            if name == "torchscript":
                loaded: Function = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
                return loaded
            require_plain_tensors(path)
            return torch.export.load(path, extra_files=extra).module()
    except WeightsError:
        raise
    except Exception as error:  # PyTorch's errors for damaged archives share no narrower base class
        again = f"export it again with `lookonce export WEIGHTS --to {name}`"
        raise WeightsError.at(path, f"PyTorch cannot read it ({first_line(error)}); {again}") from error


def require_plain_tensors(path: Path) -> None:
    """WeightsError when a package holds pickled objects, which PyTorch's loader would unpickle unchecked.

    Packages written by `lookonce export` hold the bytes of tensors, and example inputs that are tensors too.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        configs = b"".join(archive.read(name) for name in names if name.endswith("_config.json"))
        suspicious = [name for name in names if re.search(r"/(custom|opaque)_obj_", name) or names.count(name) > 1]
        if suspicious or re.search(rb'"use_pickle": *true', configs):
            problem = "holds pickled objects, which can run any code; lookonce did not write this file"
            raise WeightsError.at(path, f"{problem}; export the weights again")
        for name in names:
            if "/sample_inputs/" in name:
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
