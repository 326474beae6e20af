"""What `--weights` names: a file or folder, or published weights (`coco`), which `lookonce pull coco` downloads.

Naming published weights allows their download; LOOKONCE_OFFLINE=1 forbids it. They are converted once, to a checkpoint
in `weights/` in the current folder, or in $LOOKONCE_WEIGHTS.
"""

import os
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lookonce.errors import MissingExtra, SettingsError, WeightsError, how_to_install
from lookonce.log import get_logger, is_on
from lookonce.remote.local_copy import local_weights
from lookonce.remote.objects import is_remote
from lookonce.remote.urls import without_password
from lookonce.settings.names import few, suggested_path, suggested_value
from lookonce.settings.record import MODEL_FILE
from lookonce.settings.values import named_path
from lookonce.shown import command
from lookonce.storage import find_published, require_content, require_regular_file, temporary_folder, work_lock
from lookonce.weights.published import PUBLISHED, Content, Published, Source

FOLDER, FOLDER_VARIABLE = "weights", "LOOKONCE_WEIGHTS"
OFFLINE = "LOOKONCE_OFFLINE"
DEFAULT = "coco"  # what `predict` uses without --weights
# Of files in a folder that is named in place of them.
_WEIGHTS_SUFFIXES = frozenset({".onnx", ".xml", ".ncnn", ".cfg", ".weights", ".ckpt", ".pt"})
ORIGIN = "published"  # key in the record's settings


def weights_folder() -> Path:
    return Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)


def pulled(name: str) -> Path | None:
    """The checkpoint folder of published weights, if they are on this machine."""
    folder = weights_folder() / name
    return folder if find_published(folder) is not None else None


def place_of(path: Path) -> Path:
    """Where published weights are, or will be after `find_weights`; other paths as given."""
    return weights_folder() / path if str(path) in PUBLISHED else path


def find_weights(place: Path | str) -> Path:
    """A path on this machine: published weights are pulled, objects in storage are fetched, other paths are as given.

    WeightsError if there is nothing, before anything slow is imported to read it.

    A plain name of PUBLISHED means the published weights also where a file or folder of that name exists; a path to
    that one is absolute, see `as_typed`.
    """
    name = str(place)
    if name not in PUBLISHED:
        if re.match("https?:/", name):  # a Path has one slash
            url = without_password(re.sub(":/+", "://", name, count=1))
            raise WeightsError.at(url, "is a URL; expected a file or folder of this machine; download it first")
        path = local_weights(place)
        if not path.exists():
            hint = suggested_value(name, PUBLISHED) or suggested_path(path)
            if path.name in PUBLISHED:
                hint = f"; `lookonce pull {path.name}` downloads them to {place_of(Path(path.name))}"
            raise WeightsError.at(
                path,
                "no such file or folder; expected a run folder, a checkpoint folder, a weights file, or published "
                f"weights ({', '.join(PUBLISHED)}){hint}",
            )
        try:
            require_regular_file(path)
        except OSError as error:
            raise WeightsError.at(path, f"{error.strerror} or folder of weights") from error
        require_content(path, WeightsError)
        if path.suffix == ".bin" and path.with_suffix(".xml").is_file():
            raise WeightsError.at(path, f"belongs to an OpenVINO file; name {path.with_suffix('.xml')}")
        return path
    if Path(name).exists():
        _note_namesake(name)
    return pulled(name) or pull_published(name)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder of a checkpoint folder, a run folder (best, else last) or a model.safetensors."""
    path = find_weights(path)
    if path.name == MODEL_FILE:
        return path.parent
    found = _checkpoint_in(path)
    if found is not None:
        return found
    if path.is_file():
        raise WeightsError.at(
            path, f"not a checkpoint; convert weight files of other programs with `lookonce convert {path}`"
        )
    if (settings := path / "settings.yaml").is_file():
        problem = "the run has no checkpoint yet; wait until it has saved one, or start it again: "
        raise WeightsError.at(path, problem + command("train", "--file", settings))
    inside = [str(one) for one in sorted(path.iterdir()) if one.suffix in _WEIGHTS_SUFFIXES or _checkpoint_in(one)]
    raise WeightsError.at(
        path,
        "contains no checkpoint; expected a run folder (with checkpoints/best or checkpoints/last) or a checkpoint "
        f"folder (with {MODEL_FILE} and COMPLETE)" + (f"; weights in it: {few(inside)}" if inside else ""),
    )


def _checkpoint_in(path: Path) -> Path | None:
    candidates = (path, path / "checkpoints" / "best", path / "checkpoints" / "last")
    return next((candidate for candidate in candidates if find_published(candidate) is not None), None)


def require_weights(place: Path | str) -> None:
    """WeightsError if `place` is a path and nothing is there; published weights and addresses are not looked up."""
    if str(place) not in PUBLISHED and not is_remote(place):
        find_weights(place)


@cache
def _note_namesake(name: str) -> None:
    get_logger().info(f"{name}: the published weights; for {name} in the current folder write ./{name}")


def as_typed(text: str) -> str:
    """`./coco` and `coco/` -> the absolute path, since Path("./coco") is the same as Path("coco"); else the text."""
    return str(named_path(text)) if str(Path(text)) in PUBLISHED else text


def default_weights() -> Path:
    """The weights of a command that names none. They must be here: only naming weights allows their download."""
    if pulled(DEFAULT) is None and find_spec("torch") is None:
        raise SettingsError(
            f"weights: not given; name an exported file, e.g. --weights model.onnx, or install what {DEFAULT} needs: "
            f"{how_to_install('train')}",
            setting="weights",
        )
    if pulled(DEFAULT) is None:
        raise SettingsError(
            f"weights: not given, and the folder {weights_folder() / DEFAULT} does not exist; run `lookonce pull "
            f"{DEFAULT}` once, or name others with --weights",
            setting="weights",
        )
    return Path(DEFAULT)


def pull_published(name: str) -> Path:
    """Download published weights unless a copy is at hand, convert them; returns their checkpoint folder."""
    if find_spec("torch") is None:  # known before anything is downloaded
        raise MissingExtra(f"{name}: converting published weights", "train")
    published, folder = PUBLISHED[name], weights_folder() / name
    file = weights_folder() / published.file_name
    require_online(name, file, published.sources, published.content)
    with work_lock(folder):
        if (there := pulled(name)) is not None:  # another process was faster
            return there
        is_placed_by_user = file.exists()
        obtain(name, file, published.sources, published.content)
        _convert(published, name, file, folder)
        if not is_placed_by_user:
            file.unlink()
    return folder


def obtain(name: str, file: Path, sources: Sequence[Source], content: Content) -> None:
    """Download a file of known content, unless it is there. Another one of its name is not replaced, but an error."""
    from lookonce.weights.download import download  # imports what only a download needs

    if file.exists():
        if difference := content.differs(file):
            raise WeightsError.at(file, f"{difference}; remove it or replace it")
        return
    require_online(name, file, sources, content)
    try:
        download(sources, file, content)
    except WeightsError as error:
        words = f"{name}: {error}\n{how_to_place(file, sources, content)}"
        raise WeightsError(words, path=file, value=name) from error


def require_online(name: str, file: Path, sources: Sequence[Source], content: Content) -> None:
    """WeightsError if the file is missing, and a setting forbids its download."""
    if is_on(OFFLINE) and not file.exists():
        raise WeightsError(
            f"{name}: not in {file.parent}, and {OFFLINE} forbids the download; "
            f"{how_to_place(file, sources, content)}, or unset {OFFLINE}",
            path=file,
            value=name,
        )


def how_to_place(file: Path, sources: Sequence[Source], content: Content) -> str:
    """What to do without a network: which file goes where."""
    size = "" if content.num_bytes is None else f"{content.num_bytes:,} bytes, "
    return f"copy {sources[0]} ({size}{content.algorithm} {content.checksum[1]}) to {file}"


def _convert(published: Published, name: str, file: Path, folder: Path) -> None:
    """The file of another program -> our checkpoint, with its origin and licence in the record."""
    from lookonce.weights.checkpoint import save_checkpoint
    from lookonce.weights.darknet import read_darknet
    from lookonce.weights.darknet_cfg import STANDARD_RECORD
    from lookonce.weights.darknet_text import write_cfg
    from lookonce.weights.foreign import COCO_NAMES, ReadOptions
    from lookonce.weights.mindspore import read_mindspore

    options = ReadOptions(class_names=COCO_NAMES)
    if published.dialect == "darknet":
        classes = {"class_names": COCO_NAMES, "category_ids": tuple(range(1, len(COCO_NAMES) + 1))}
        with temporary_folder() as beside:
            cfg = beside / "yolov3-tiny.cfg"
            cfg.write_text(write_cfg(STANDARD_RECORD.model_copy(update=classes)), encoding="utf-8")
            read = read_darknet(cfg, file, options)
    else:
        read = read_mindspore(file, options)
    for words in (*read.notes, *read.warnings):
        get_logger().info(f"{name}: {words}")
    origin = {"name": name, "sha256": published.content.sha256, "licence": published.licence}
    settings = {**read.record.settings, ORIGIN: origin}
    save_checkpoint(folder, state=read.state, record=read.record.model_copy(update={"settings": settings}))
