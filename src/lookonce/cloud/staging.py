"""What a cloud job brings to its machine (data, weights, an earlier run), and how it saves its results."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lookonce.data.local_data import local_data
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError, WeightsError
from lookonce.exit_codes import ExitCode
from lookonce.log import get_logger
from lookonce.remote.local_copy import local_weights, unpacked
from lookonce.remote.objects import Location, is_remote
from lookonce.remote.stage_in import cache_name
from lookonce.remote.stage_out import NOT_SYNCED, StageOut, fetch_run, staging_out
from lookonce.remote.store import open_store
from lookonce.settings.aliases import is_true
from lookonce.settings.names import counted, few
from lookonce.storage import work_lock

CACHE = Path("/cache")  # the large disk of ModelArts


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Options of a job beside the training settings: see `job.job`. "" where an option is not given."""

    task: str = "train"
    data_url: str = ""
    train_url: str = ""
    checkpoint_url: str = ""
    data_path: str = ""
    output_path: str = ""
    load_path: str = ""
    data_dir: str = ""
    pretrained: str = ""
    names: str = ""
    need_modelarts_dataset_unzip: str = "True"
    modelarts_dataset_unzip_name: str = ""
    run: str = ""
    split: str = "val"

    @property
    def name(self) -> str:
        """Name of the results folder, on this machine and below train_url."""
        if self.task == "eval":
            return f"{self.run}-eval" if self.run else "eval"
        return self.run or "job"

    def place(self, name: str, folder: str) -> Path:
        given = getattr(self, name)
        return Path(given) if given else (CACHE if CACHE.is_dir() else Path("cache")) / folder


def staged_weights(options: JobOptions) -> Path:
    """Local copy of checkpoint_url: a file, a folder, or the file in it that `pretrained` names."""
    found = local_weights(options.checkpoint_url, options.place("load_path", "checkpoint_path"))
    name = Path(options.pretrained).name
    if not name or not found.is_dir() or (found / name).exists():
        return found / name if name and found.is_dir() else found
    held = sorted(path.name for path in found.iterdir() if not path.name.startswith("."))
    where = f"is not at {options.checkpoint_url}; expected one of {few(held)}"
    problem = f"pretrained: {name!r} {where}; remove the option to use the whole folder"
    raise WeightsError(problem, setting="pretrained", value=name)


def staged_names(options: JobOptions, weights: Path) -> Path | None:
    """File with the class names: the one beside the weights if there is one, else the path as given."""
    if not options.names:
        return None
    beside = weights.parent / Path(options.names).name
    return beside if beside.is_file() else Path(options.names)


def output_folder(options: JobOptions) -> Path:
    """Local parent folder of runs: train_url itself if it is a path, else below output_path.

    Each remote train_url has a folder of its own: a run of the same name at another place is another run.
    """
    if not options.train_url:
        return options.place("output_path", "train")
    if not is_remote(options.train_url):
        return Path(options.train_url)
    return options.place("output_path", "train") / cache_name(Location.parse(options.train_url))


def stage_data(options: JobOptions) -> tuple[Path, str]:
    """Local folder of the data set, downloaded and unpacked; and what a run names, with which any machine finds these
    data again: the address if it leads to that folder, else the folder.

    A .zip is unpacked below data_path, never beside the .zip: a local data_url is the user's own folder.
    """
    place = options.place("data_path", "data")
    if not options.data_url:
        get_logger().info(f"data_url: not given; the data set is expected in {options.data_dir or place}")
    root = brought = local_data(options.data_url, place) if options.data_url else place
    if options.data_dir and Path(options.data_dir).is_dir():
        root = Path(options.data_dir)
    elif is_true(options.need_modelarts_dataset_unzip):
        root = _zip_in(root, options, place)
    if options.data_dir and not options.data_url and not root.exists():
        root = Path(options.data_dir)  # opening it raises the error
    found = _data_set_in(root)
    return found, options.data_url if is_remote(options.data_url) and found == brought else str(found)


def _zip_in(root: Path, options: JobOptions, place: Path) -> Path:
    """Unpack the one .zip of a folder (or the one that is named) if the folder holds no data set; else `root`."""
    if not root.is_dir() or _is_data_set(root) or _data_set_in(root) != root:
        return root
    archives = sorted(root.glob("*.zip"))
    name = options.modelarts_dataset_unzip_name
    named = [path for path in archives if not name or path.stem == name]
    if len(named) == 1:
        return unpacked(named[0], place)
    if archives:
        expected = f"expected one of the archives in {root}, without .zip: {few([path.name for path in archives])}"
        raise SettingsError.of("modelarts_dataset_unzip_name", name or "not given", expected)
    return root


def _data_set_in(root: Path) -> Path:
    """`root` if it is a data set, else its only child folder that is one, else `root`."""
    inside = [child for child in sorted(root.iterdir()) if child.is_dir()] if root.is_dir() else []
    found = [root] if _is_data_set(root) else [child for child in inside if _is_data_set(child)]
    return found[0] if len(found) == 1 else root  # opening it raises the error


def _is_data_set(folder: Path) -> bool:
    try:
        open_data(folder)
    except DataError:
        return False
    return True


def bring_back(options: JobOptions, folder: Path) -> bool:
    """Whether the run exists already: on this machine, or at train_url, from where it is downloaded.

    The folder appears complete, so a download that was killed is not mistaken for a run without a checkpoint.
    """
    if not is_remote(options.train_url):
        return (folder / "settings.yaml").is_file()
    coming = folder.with_name(f".{folder.name}.coming")
    with work_lock(folder):
        if folder.exists():
            return (folder / "settings.yaml").is_file()
        if not fetch_run(Location.parse(options.train_url) / options.name, coming, open_store()):
            return False
        coming.rename(folder)
    get_logger().info(f"resuming {options.train_url.rstrip('/')}/{options.name}, downloaded to {folder}")
    return (folder / "settings.yaml").is_file()


@contextmanager
def results_to(options: JobOptions, folder: Path, *, sends: bool) -> Iterator[StageOut | None]:
    """Upload results to train_url until the block ends; yields None if there is nothing to upload."""
    with ExitStack() as stack:
        sending = None
        if sends and is_remote(options.train_url):
            location = Location.parse(options.train_url) / folder.name
            get_logger().info(f"uploading results from {folder} to {location} during the run")
            sending = stack.enter_context(staging_out(folder, location, open_store()))
        elif sends and not options.train_url:
            get_logger().warning(
                f"train_url: not given; results stay on this machine, in {folder}, and are not uploaded"
            )
        yield sending


def exit_code(sending: StageOut | None, of_work: int) -> int:
    """74 overrides the status of the work: the results must be saved before the machine is released."""
    if sending is None:
        return of_work
    if not sending.unsent:
        get_logger().info(f"all results uploaded to {sending.location}")
        return of_work
    get_logger().error(
        f"{counted(len(sending.unsent), 'file')} not uploaded to {sending.location}, listed in "
        f"{sending.folder / NOT_SYNCED}; repeat the command to upload the rest"
    )
    return ExitCode.NOT_SYNCED
