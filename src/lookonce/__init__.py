"""lookonce: the complete YOLOv3-Tiny object detector.

```python
import lookonce

model = lookonce.load("best.onnx")      # any weights: a run, a checkpoint folder, an exported file, "coco"
for result in model("photos/"):
    print(result)
run = lookonce.train(data="data/", image_size=320, epochs=30)
```

The command-line verbs are functions of the same name with the same options; a hyphen is an underscore, and `eval` is
also `evaluate`. All names are imported on first use, so `import lookonce` alone is fast; `__init__.pyi` names their
types.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
__all__ = [
    "AnchorAdvice",
    "Bench",
    "Checked",
    "Configuration",
    "Converted",
    "Copy",
    "DataError",
    "Demonstration",
    "Detections",
    "Diagnosed",
    "Evaluation",
    "Explanation",
    "Exports",
    "Health",
    "Info",
    "JobFile",
    "JobResult",
    "LoadedDetector",
    "LookonceError",
    "Page",
    "Predicted",
    "PredictedImage",
    "Prediction",
    "PublishedList",
    "Served",
    "SettingsError",
    "TrainResult",
    "Transferred",
    "Verification",
    "anchors",
    "bench",
    "check",
    "config",
    "convert",
    "convert_data",
    "demo",
    "diagnose",
    "doctor",
    "eval",
    "evaluate",
    "explain_assignment",
    "export",
    "info",
    "job",
    "job_file",
    "load",
    "monitor",
    "page",
    "predict",
    "pull",
    "push",
    "report",
    "serve",
    "train",
    "verify",
]

# Name -> its module, where that is not lookonce.workflows.NAME.
_MODULES = {
    "AnchorAdvice": "lookonce.workflows.anchors",
    "Bench": "lookonce.workflows.bench",
    "Checked": "lookonce.workflows.check",
    "Configuration": "lookonce.workflows.config",
    "Converted": "lookonce.workflows.convert",
    "Copy": "lookonce.data.write",
    "DataError": "lookonce.errors",
    "Demonstration": "lookonce.workflows.demo",
    "Detections": "lookonce.detections",
    "Diagnosed": "lookonce.workflows.diagnose",
    "Evaluation": "lookonce.workflows.evaluate",
    "Explanation": "lookonce.workflows.explain_assignment",
    "Exports": "lookonce.workflows.export",
    "Health": "lookonce.workflows.doctor",
    "Info": "lookonce.workflows.info",
    "JobFile": "lookonce.cloud.job_file",
    "JobResult": "lookonce.cloud.job",
    "LoadedDetector": "lookonce.api",
    "LookonceError": "lookonce.errors",
    "Page": "lookonce.workflows.page",
    "Predicted": "lookonce.workflows.predict",
    "PredictedImage": "lookonce.prediction.result",
    "Prediction": "lookonce.prediction.predictor",
    "PublishedList": "lookonce.workflows.hub",
    "Served": "lookonce.serving.serve",
    "SettingsError": "lookonce.errors",
    "TrainResult": "lookonce.training.trainer",
    "Transferred": "lookonce.workflows.hub",
    "Verification": "lookonce.workflows.verify",
    "eval": "lookonce.workflows.evaluate",
    "job": "lookonce.cloud.job",
    "job_file": "lookonce.cloud.job_file",
    "load": "lookonce.api",
    "pull": "lookonce.workflows.hub",
    "push": "lookonce.workflows.hub",
    "serve": "lookonce.serving.serve",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, f"lookonce.workflows.{name}")
    found = getattr(import_module(module), "evaluate" if name == "eval" else name)
    if not isinstance(found, type):
        found = import_module("lookonce.python_values").takes_python_values(found)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
