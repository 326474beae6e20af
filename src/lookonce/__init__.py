"""lookonce: the complete YOLOv3-Tiny object detector.

`lookonce.load(path)` opens any weights as a detector. The command-line verbs are functions of the same name with the
same options: `lookonce.train(data="data/", epochs=30)`; `eval` is `evaluate`, and a hyphen is an underscore. Four verbs
share their name with a package and are not here: config, export (use `load(path).export`), job and report. All names
are imported on first use, so `import lookonce` alone is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookonce.api import LoadedDetector, load
    from lookonce.detections import Detections
    from lookonce.errors import DataError, LookonceError, SettingsError
    from lookonce.prediction.predictor import Prediction
    from lookonce.prediction.result import PredictedImage
    from lookonce.workflows.anchors import anchors
    from lookonce.workflows.bench import bench
    from lookonce.workflows.check import check
    from lookonce.workflows.convert import convert
    from lookonce.workflows.convert_data import convert_data
    from lookonce.workflows.demo import demo
    from lookonce.workflows.diagnose import diagnose
    from lookonce.workflows.doctor import doctor
    from lookonce.workflows.evaluate import evaluate
    from lookonce.workflows.explain_assignment import explain_assignment
    from lookonce.workflows.hub import pull, push
    from lookonce.workflows.info import info
    from lookonce.workflows.predict import Predicted, predict
    from lookonce.workflows.train import train
    from lookonce.workflows.verify import verify

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "Detections",
    "LoadedDetector",
    "LookonceError",
    "Predicted",
    "PredictedImage",
    "Prediction",
    "SettingsError",
    "anchors",
    "bench",
    "check",
    "convert",
    "convert_data",
    "demo",
    "diagnose",
    "doctor",
    "evaluate",
    "explain_assignment",
    "info",
    "load",
    "predict",
    "pull",
    "push",
    "train",
    "verify",
]

# Name -> its module, where that is not lookonce.workflows.NAME.
_MODULES = {
    "DataError": "lookonce.errors",
    "Detections": "lookonce.detections",
    "LoadedDetector": "lookonce.api",
    "LookonceError": "lookonce.errors",
    "Predicted": "lookonce.workflows.predict",
    "PredictedImage": "lookonce.prediction.result",
    "Prediction": "lookonce.prediction.predictor",
    "SettingsError": "lookonce.errors",
    "load": "lookonce.api",
    "pull": "lookonce.workflows.hub",
    "push": "lookonce.workflows.hub",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_MODULES.get(name, f"lookonce.workflows.{name}")), name)
    if name not in _MODULES or name in {"pull", "push"}:
        found = import_module("lookonce.request").takes_text_paths(found)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
