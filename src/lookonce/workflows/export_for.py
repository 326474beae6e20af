"""`lookonce export --for`: the files of one client in one folder: the model, its labels, its configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lookonce.exporters.clients import CLIENTS, LABELS, Client, client_files, require_decodable
from lookonce.settings.record import ModelRecord
from lookonce.storage import MARKER, atomic_folder, require_replaceable
from lookonce.web.runtime import runtime_archive
from lookonce.web.site import write_site
from lookonce.workflows.convert import convert

WriteModel = Callable[[Path], None]  # writes the .onnx file, with the options of the client


@dataclass(frozen=True, kw_only=True)
class ClientFolder:
    """What was written for a client: the folder, and its files as sorted paths in it. guide: the one whose first lines
    say how to use it; "" if none does."""

    client: str
    folder: Path
    files: tuple[str, ...]
    guide: str


def prepare(name: str, folder: Path, *, overwrite: bool) -> None:
    """What needs no PyTorch, before it is loaded: LookonceError if the folder has other content, or files of a client
    and not overwrite; the page's runtime is downloaded."""
    is_own = (folder / MARKER).is_file() and any((folder / file).is_file() for file in (LABELS, "index.html"))
    require_replaceable(folder, overwrite=overwrite, is_own=is_own)
    if CLIENTS[name].to == "web":
        runtime_archive()


def write_for(name: str, weights: Path, record: ModelRecord, write_model: WriteModel, folder: Path) -> ClientFolder:
    """All files of the client -> `folder`, which appears when it is complete. WeightsError if the client cannot run the
    network."""
    client = CLIENTS[name]
    require_decodable(client, record)
    with atomic_folder(folder) as new:
        _write(client, weights, write_model, new, title=weights.stem)
        texts = client_files(name, record) if client.to != "web" else {}
        for file, text in texts.items():
            (new / file).write_text(text, encoding="utf-8")
        files = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file())
    guide = next((file for file in texts if file != LABELS and not file.endswith(".json")), "")
    return ClientFolder(client=name, folder=folder, files=tuple(files), guide=guide)


def _write(client: Client, weights: Path, write_model: WriteModel, folder: Path, *, title: str) -> None:
    if client.to == "darknet":
        convert(weights, output=folder / "model.weights", to="darknet")
        return
    model = folder / client.model
    write_model(model)
    if client.to == "web":
        write_site(folder, model, title)
    elif client.output_suffix:
        from lookonce.exporters.onnx import suffix_outputs  # which needs PyTorch, as write_model does

        suffix_outputs(model, client.output_suffix)
