"""`lookonce push` and `lookonce pull`: checkpoints on the Hugging Face Hub, or in a folder with the hub's layout.

`pull` also downloads the weights of weights/published.py."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookonce.errors import LookonceError, SettingsError, WeightsError, first_line, needing_extra
from lookonce.layout import Printed
from lookonce.reports.content import Content, Run, shown_from
from lookonce.reports.model_card import model_card
from lookonce.settings.names import suggested_value
from lookonce.settings.record import ModelRecord
from lookonce.shown import file_size
from lookonce.storage import temporary_folder, write_file
from lookonce.weights.published import PUBLISHED
from lookonce.weights.pull import find_weights, pulled

CARD_FILE = "README.md"
# What the hub searches, as YAML; the use of its files.
HUB_METADATA = "library_name: lookonce\npipeline_tag: object-detection\ntags: [yolov3-tiny, object-detection]\n"
USE = (
    "The files are a checkpoint folder of lookonce: `lookonce pull` fetches them, `lookonce predict` and "
    "`lookonce.load` use them.\n"
)
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# All that is fetched: a stranger's repository may hold anything else beside them.
CHECKPOINT_FILES = ["model.safetensors", "record.json", "manifest.json", "COMPLETE"]


@dataclass(frozen=True, kw_only=True)
class Transferred(Printed):
    """Where the checkpoint is now: a folder, or with is_on_hub OWNER/NAME there. was_here: pulled before."""

    place: str
    is_on_hub: bool = False
    was_here: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishedList(Printed):
    """The published weights were asked for; pulled: name -> its folder, None if it is not on this machine."""

    pulled: Mapping[str, Path | None]


def push(
    weights: Path,
    to: str,
    *,
    names: Path | None = None,
    public: bool = False,
    message: str = "A checkpoint",
) -> Transferred:
    """Put a checkpoint, without the state of its training, and a card on the Hugging Face Hub, or into a folder.

    Parameters
    ----------
    weights
        Checkpoint folder, run folder (its best), or MindSpore's .ckpt or Darknet's .weights.
    to
        OWNER/NAME on the hub, which needs a login there (`hf auth login`); or a new folder: ./NAME or /PATH.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    public
        Create a new repository as public; without it only its owner can see it.
    message
        Message of the commit on the hub.
    """
    weights = find_weights(weights)  # before anything slow
    from lookonce.weights.load import open_checkpoint

    checkpoint = open_checkpoint(weights, names)
    if not is_repository(to):
        folder = Path(to)
        if folder.exists():
            raise WeightsError.at(folder, "exists already; name a new folder")
        _lay_out(folder, checkpoint.state, checkpoint.record, folder.name)
        return Transferred(place=str(folder))
    with temporary_folder() as temporary:
        folder = temporary / "checkpoint"
        _lay_out(folder, checkpoint.state, checkpoint.record, to.partition("/")[2])
        hub = _hub()
        with _errors_explained(to):
            hub.HfApi().create_repo(to, private=not public, exist_ok=True)
            hub.HfApi().upload_folder(repo_id=to, folder_path=folder, commit_message=message)
    return Transferred(place=to, is_on_hub=True)


def pull(
    source: str | None = None, output: Path | None = None, *, revision: str | None = None
) -> Transferred | PublishedList:
    """Download published weights by name, or a checkpoint that `push` put on the Hugging Face Hub or into a folder.

    Without SOURCE: list the published weights. Each file is verified by its SHA-256.

    Parameters
    ----------
    source
        Name of published weights such as coco, OWNER/NAME on the hub, or a folder: ./NAME or /PATH.
    output
        Checkpoint folder to create; default for published weights: weights/NAME (LOOKONCE_WEIGHTS replaces weights).
    revision
        Branch, tag or commit on the hub; default: the newest.
    """
    if source is None:
        return PublishedList(pulled={name: pulled(name) for name in PUBLISHED})
    if output is None and source in PUBLISHED:
        was_here = pulled(source) is not None
        return Transferred(place=str(find_weights(source)), was_here=was_here)
    if output is None:
        known = f"{', '.join(PUBLISHED)}){suggested_value(source, PUBLISHED)}"
        add = "for weights on the hub or in a folder add the checkpoint folder to create: --output DIR"
        raise SettingsError(f"{source}: is not one of the published weights ({known}; {add}", setting="output")
    if output.exists():
        raise WeightsError.at(output, "exists already; name a new folder")
    if source in PUBLISHED:
        return _copy(find_weights(source), output)
    if not is_repository(source):
        return _copy(Path(source), output)
    with temporary_folder() as temporary:
        hub = _hub()
        with _errors_explained(source):
            hub.snapshot_download(source, revision=revision, local_dir=temporary, allow_patterns=CHECKPOINT_FILES)
        return _copy(temporary, output)


def as_text(done: Transferred | PublishedList) -> Iterator[str]:
    if isinstance(done, Transferred):
        yield f"{'pushed' if done.is_on_hub else 'here already' if done.was_here else 'written'}: {done.place}"
        return
    for name, folder in done.pulled.items():
        published = PUBLISHED[name]
        size = "" if published.content.num_bytes is None else f"{file_size(published.content.num_bytes)}, "
        yield f"{name}: {published.what}"
        yield f"    {size}{published.licence} ({published.licence_source})"
        yield f"    pulled: {folder}" if folder else f"    not pulled; lookonce pull {name}"


def is_repository(name: str) -> bool:
    """OWNER/NAME means the hub, unless a folder of that name lies here."""
    return bool(REPOSITORY.fullmatch(name)) and not Path(name).exists()


def _copy(folder: Path, output: Path) -> Transferred:
    from lookonce.weights.checkpoint import load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(folder)
    save_checkpoint(output, state=checkpoint.state, record=checkpoint.record)
    return Transferred(place=str(output))


def _lay_out(folder: Path, state: Any, record: ModelRecord, name: str) -> None:
    from lookonce.weights.checkpoint import save_checkpoint

    save_checkpoint(folder, state=state, record=record)
    run = Run(folder=folder, settings={}, rows=(), record=record)
    threshold = shown_from(record.thresholds)
    card = model_card(Content(title=name, run=run, metrics=record.metrics, threshold=threshold))
    write_file(folder / CARD_FILE, f"---\n{HUB_METADATA}---\n\n{card}\n{USE}")


def _hub() -> Any:
    with needing_extra("the Hugging Face Hub", "hub"):
        import huggingface_hub
    return huggingface_hub


@contextmanager
def _errors_explained(repository: str) -> Iterator[None]:
    """The hub's errors, of which there are dozens, as one of ours."""
    try:
        yield
    except Exception as error:  # HfHubHTTPError is an OSError; the errors of its HTTP client are no subclass of one
        check = "is the name right, the machine online, and are you logged in with `hf auth login`?"
        raise LookonceError(f"{repository}: the Hugging Face Hub says no ({first_line(error)}); {check}") from error
