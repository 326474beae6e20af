"""lookonce: the complete YOLOv3-Tiny object detector.

```python
import lookonce

model = lookonce.load("best.onnx")      # any weights: a run, a checkpoint folder, an exported file, "coco"
for result in model("photos/"):
    print(result)
run = lookonce.train(data="data/", image_size=320, epochs=30)
```

The command-line verbs are functions of the same name with the same options; `eval` is `evaluate`, and a hyphen is an
underscore. Four verbs share their name with a package and are not here: config, export (use `load(path).export`), job
and report. All names are imported on first use, so `import lookonce` alone is fast; `__init__.pyi` names their types.
"""

from importlib import import_module
from typing import Any

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
