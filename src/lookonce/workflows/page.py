"""`lookonce page`: a folder of static files that detects in the browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lookonce.errors import LookonceError, SettingsError, WeightsError
from lookonce.layout import Printed
from lookonce.request import Listed
from lookonce.runtimes.kinds import kind_of
from lookonce.shown import command, file_size
from lookonce.storage import MARKER, atomic_folder, require_replaceable, temporary_folder
from lookonce.web.runtime import runtime_archive
from lookonce.web.server import require_free_port, serve_until_interrupted, serving
from lookonce.web.site import write_site
from lookonce.weights.pull import find_weights, require_weights

DEFAULT_PORT = 8000


@dataclass(frozen=True, kw_only=True)
class Page(Printed):
    """The folder of a page; num_bytes: of all its files."""

    folder: Path
    num_bytes: int


def page(
    weights: Path | None = None,
    *,
    names: Path | None = None,
    image_size: int | Listed | None = None,
    title: str = "",
    output: Path = Path("site"),
    overwrite: bool = False,
    serve: bool = False,
    port: int = DEFAULT_PORT,
) -> Page:
    """Write a folder of static files that detects in the browser: images, videos, camera. No image leaves the browser.

    Any web server can publish the folder. The detections equal those of `lookonce predict`.

    Parameters
    ----------
    weights
        Checkpoint folder, run folder (its best), .ckpt, .weights, or an exported .onnx file (needs no PyTorch).
        Without weights, --serve serves the page that `output` holds.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    image_size
        Side of the input in pixels, a multiple of 32, or height x width, such as 416x224. Default: that of the weights.
    title
        Title of the page. Default: the name of the weights.
    output
        Folder to write.
    overwrite
        Replace a page that `output` holds.
    serve
        Serve the page at 127.0.0.1, with the headers that threads need, until Ctrl-C.
    port
        Port of --serve; 0: a free one.
    """
    if weights is not None:
        if serve:
            require_free_port(port)
        write_page(weights, output, names=names, image_size=image_size, title=title, overwrite=overwrite)
    elif not serve:
        problem = "not given; name a checkpoint, a run folder or an .onnx file, e.g. lookonce page runs/train-1"
        raise SettingsError(f"weights: {problem}", setting="weights")
    elif not is_page(output):
        written_by = command("page", "WEIGHTS", "--output", output)
        raise LookonceError.at(output, f"holds no page; write one with `{written_by}`")
    if serve:
        with serving(output, port) as server:
            serve_until_interrupted(server)
    return Page(folder=output, num_bytes=sum(path.stat().st_size for path in output.iterdir()))


def as_text(page: Page) -> Iterator[str]:
    yield f"written: {page.folder} ({file_size(page.num_bytes)})"
    yield f"see it with: {command('page', '--serve', '--output', page.folder)}"


def write_page(
    weights: Path, output: Path, *, names: Path | None, image_size: int | str | None, title: str, overwrite: bool
) -> None:
    """A new page -> the folder `output`. LookonceError if the folder has other content, or a page and not overwrite."""
    require_weights(weights)
    require_replaceable(output, overwrite=overwrite, is_own=is_page(output))
    found = find_weights(weights)
    with exported(found, names, image_size) as model, atomic_folder(output) as folder:
        write_site(folder, model, title or found.stem)


def is_page(folder: Path) -> bool:
    """Whether `write_page` has written the folder; a checkpoint folder also has a marker and a record."""
    return all((folder / file).is_file() for file in (MARKER, "index.html", "record.json"))


@contextmanager
def exported(weights: Path, names: Path | None, image_size: int | str | None) -> Iterator[Path]:
    """The weights as an .onnx file: themselves, or an export that exists until the end of the block."""
    kind = kind_of(weights)
    if kind == "onnx":
        if image_size is not None:
            problem = "an .onnx file has a fixed size; name the checkpoint instead"
            raise SettingsError.of("image_size", image_size, problem)
        yield weights
        return
    if kind != "checkpoint":
        raise WeightsError.at(weights, f"is {kind}; expected a checkpoint, a run folder or an .onnx file")
    runtime_archive()  # the download, or its error, comes before the export
    from lookonce.workflows.export import export  # needs PyTorch, the rest does not

    with temporary_folder() as folder:
        (file,) = export(weights, names=names, image_size=image_size, output=folder / "model.onnx").files
        yield file.path
