"""`lookonce doctor`: reports the hardware and software of this machine, and what is missing or broken."""

import importlib.metadata
import io
import os
import platform
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

import lookonce
from lookonce.cores import usable_processors, usable_threads
from lookonce.errors import NO_CANN, NO_TORCH_NPU, SettingsError, how_to_install
from lookonce.layout import Printed
from lookonce.runtimes.processor import int8_path, processor_name
from lookonce.settings.names import counted
from lookonce.shown import without_secrets
from lookonce.storage import os_errors_explained, read_regular_file, write_file

CheckResult = Literal["ok", "note", "optional", "wrong"]
# Extra -> what it is for.
USES = {
    "train": "training, checkpoints, export",
    "hub": "push and pull of the Hugging Face Hub",
    "int8": "export to OpenVINO in INT8",
    "ncnn": "export to ncnn; its files need only the package ncnn",
    "openvino": "export to OpenVINO, and its runtime",
    "parquet": "manifests in Parquet",
    "pull": "published weights from a package index",
    "ray": "predict --engine ray",
    "s3": "data and results in object storage",
    "serve": "serve",
    "tensorboard": "curves of training in TensorBoard",
    "track": "predict --track",
    "video": "videos and streams",
    "zmq": "serve --zmq",
}
# With less than this the disk may fill up during a run of a few hundred epochs.
LITTLE_SPACE_GB = 2.0
LOG_LINES = 2_000  # of a run, in a bundle
# y = x + x for two float32: the smallest ONNX graph that computes something. Made with onnx.helper, opset 17, IR 8.
TINY_ONNX = bytes.fromhex(
    "080812003a350a0e0a01780a017812017922034164641201675a0f0a0178120a0a08080112040a020802620f0a0179120a0a08080112040a02"
    "080242040a001011"
)


@dataclass(frozen=True)
class MachineCheck:
    """One line of the report. verdict: optional: an extra that is not installed; wrong: installed and does not work."""

    name: str
    verdict: CheckResult
    text: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Health(Printed):
    """bundle: the .zip file, if it was written."""

    findings: tuple[MachineCheck, ...]
    bundle: Path | None = None

    @property
    def exit_code(self) -> int:
        return int(any(finding.verdict == "wrong" for finding in self.findings))


def doctor(*, bundle: Path | None = None, run: Path | None = None) -> Health:
    """Report the hardware and software of this machine, what is missing, and the command to fix it.

    Parameters
    ----------
    bundle
        .zip file to write and attach to a bug report: this report, the versions of all installed packages and, of a
        run, its settings and the end of its log; no images, weights or credentials.
    run
        Run folder for the bundle.
    """
    if run is not None and bundle is None:
        raise SettingsError("run: only the bundle takes it; add --bundle FILE.zip", setting="run", value=run)
    health = Health(findings=tuple(examine()))
    if bundle is not None:
        write_bundle(bundle, health, run)
    return replace(health, bundle=bundle)


def write_bundle(path: Path, health: Health, run: Path | None) -> None:
    """The report, the versions of all installed packages, and the run's settings and log -> a .zip file.

    Credentials are replaced by ***, the home folder by ~."""
    packages = sorted(f"{package.name} {package.version}" for package in importlib.metadata.distributions())
    texts = {"doctor.txt": "\n".join(as_text(health)), "packages.txt": "\n".join(packages)}
    for name in ("settings.yaml", "log.txt") if run is not None else ():
        assert run is not None
        text = read_regular_file(run / name).decode("utf-8", errors="replace")
        texts[f"run/{name}"] = "\n".join(text.splitlines()[-LOG_LINES:])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, without_secrets(text).replace(str(Path.home()), "~"))
    with os_errors_explained(path):
        write_file(path, content.getvalue())


def as_text(health: Health) -> Iterator[str]:
    width = max(len(finding.name) for finding in health.findings)
    for finding in health.findings:
        yield f"{finding.verdict:<8} {finding.name:<{width}}  {finding.text}"
        if finding.advice:
            yield f"{'':<8} {'':<{width}}  -> {finding.advice}"
    if health.bundle is not None:
        yield f"written: {health.bundle}"


def examine() -> Iterator[MachineCheck]:
    """Run all checks; they change nothing on this machine."""
    yield MachineCheck("lookonce", "ok", lookonce.__version__)
    yield MachineCheck("python", "ok", f"{platform.python_version()}, {sys.executable}")
    yield MachineCheck("system", "ok", platform.platform())
    limits = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if os.environ.get(name)}
    limited = "".join(f", {name}={value}" for name, value in limits.items())
    cores = f"usable cores: {usable_processors()}; compute threads: {usable_threads()}{limited}"
    yield MachineCheck("processor", "ok", f"{processor_name()}; {cores}")
    yield MachineCheck("int8", "ok" if int8_path() != "unknown" else "note", int8_path())
    yield from _packages()
    yield _tried("images", _images_work)
    yield _tried("ONNX Runtime", _onnxruntime_works)
    yield _torch()
    yield _space("free here", Path.cwd())
    yield _space("free in temp", Path(tempfile.gettempdir()))


def _space(name: str, folder: Path) -> MachineCheck:
    free_gb = shutil.disk_usage(folder).free / 1e9
    text = f"{free_gb:.1f} GB free in {folder}"
    if free_gb >= LITTLE_SPACE_GB:
        return MachineCheck(name, "ok", text)
    return MachineCheck(name, "note", text, "free disk space, or train with --runs on another disk")


def _packages() -> Iterator[MachineCheck]:
    """The packages of the base install in one line, then each extra: its versions, or the packages it lacks."""
    wanted = requirements()
    base = {name: installed_version(name) for name in wanted.pop("", [])}
    if not base:
        yield MachineCheck(
            "packages", "note", "unknown, because lookonce is not installed; it runs from its source files"
        )
        return
    yield MachineCheck("packages", "ok", ", ".join(f"{name} {version}" for name, version in base.items() if version))
    if absent := [name for name, version in base.items() if not version]:
        yield MachineCheck("packages", "wrong", f"not installed: {', '.join(absent)}", "pip install lookonce")
    for extra, names in wanted.items():
        versions = {name: installed_version(name) for name in names}
        if lacking := [name for name, version in versions.items() if not version]:
            text = f"for {USES[extra]}; not installed: {', '.join(lacking)}"
            yield MachineCheck(f"extra {extra}", "optional", text, how_to_install(extra))
        else:
            text = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield MachineCheck(f"extra {extra}", "ok", text)


def requirements() -> dict[str, list[str]]:
    """Extra -> its packages, from the metadata of the installed lookonce; "" is the base install.

    Empty if lookonce runs from its source files and is not installed."""
    found: dict[str, list[str]] = {"": []}
    lines = importlib.metadata.requires("lookonce") if installed_version("lookonce") else None
    for line in lines or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", line)
        found.setdefault(extra[1] if extra else "", []).append(name[0] if name else line)
    return found


def installed_version(package: str) -> str:
    """ "" if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _tried(name: str, works: Callable[[], str]) -> MachineCheck:
    """Run `works` once: an installed package may still lack a system library."""
    try:
        return MachineCheck(name, "ok", works())
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return MachineCheck(name, "wrong", f"{type(error).__name__}: {error}", "reinstall lookonce")


def _images_work() -> str:
    """Encode and decode a JPEG in memory; a smooth image must keep its colours to within a few levels."""
    import cv2

    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    image = np.stack([ramp, ramp.T, 255 - ramp], axis=2)
    _, encoded = cv2.imencode(".jpg", image)
    again = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if again is None or np.abs(again.astype(int) - image).mean() > 10:
        raise RuntimeError("a decoded JPEG differs from the image that was encoded")
    return f"OpenCV {cv2.__version__} writes and reads JPEG"


def _onnxruntime_works() -> str:
    from lookonce.runtimes.onnx import onnxruntime

    session = onnxruntime.InferenceSession(TINY_ONNX, providers=["CPUExecutionProvider"])
    (doubled,) = session.run(None, {"x": np.array([1, 2], dtype=np.float32)})
    if doubled.tolist() != [2, 4]:
        raise RuntimeError(f"[1 + 1, 2 + 2] is {doubled.tolist()}, expected [2, 4]")
    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    return f"{onnxruntime.__version__} works; providers: {providers}"


def _torch() -> MachineCheck:
    """PyTorch and its devices. Training and checkpoints need it; exported files do not."""
    if find_spec("torch") is None:
        text = "not installed; training and checkpoints need it, exported files do not"
        return MachineCheck("PyTorch", "optional", text, how_to_install("train"))
    try:
        import torch

        from lookonce.devices import BACKENDS, count_devices, device_name
    except (ImportError, OSError, RuntimeError) as error:
        advice = NO_CANN if NO_TORCH_NPU in str(error) else "reinstall torch"
        return MachineCheck("PyTorch", "wrong", f"{type(error).__name__}: {error}", advice)
    devices = ["cpu"]
    for kind in BACKENDS:
        numbers = range(0 if kind == "cpu" else count_devices(kind)[1])
        devices += [f"{kind}:{number} {device_name(torch.device(kind, number))}" for number in numbers]
    threads = counted(torch.get_num_threads(), "thread")
    return MachineCheck("PyTorch", "ok", f"{torch.__version__}, {threads}; devices: {', '.join(devices)}")
