"""Table of the verbs of `lookonce`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Verb:
    """target: "module:function", imported when the verb is used; summary: its line in `lookonce --help`.

    from_settings: the function takes every setting by name (**flags), so help does not import it. shown_by:
    "module:function" that formats the result as lines to print, for functions that do not print. renames: parameter ->
    option, where they differ. tolerant: options that are not parameters of the function are passed to its **flags as
    typed. is_job_when: a switch that runs the verb as `job`.
    """

    target: str
    summary: str
    from_settings: bool = False
    shown_by: str = ""
    renames: Mapping[str, str] = field(default_factory=dict)
    tolerant: bool = False
    is_job_when: str = ""

    def load(self) -> Callable[..., Any]:
        return _imported(self.target)

    def lines(self, result: Any) -> Iterable[str]:
        """Lines to print after the function has returned."""
        return _imported(self.shown_by)(result) if self.shown_by else ()


def _imported(target: str) -> Callable[..., Any]:
    module, _, function = target.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(module), function)
    return loaded


VERBS: dict[str, Verb] = {
    "train": Verb(
        target="lookonce.workflows.train:train",
        summary="Train a detector on labelled images.",
        from_settings=True,
        is_job_when="enable_modelarts",
    ),
    "eval": Verb(
        target="lookonce.workflows.evaluate:evaluate",
        summary="Evaluate a detector with COCO's metric (AP, AR).",
        is_job_when="enable_modelarts",
    ),
    "diagnose": Verb(
        target="lookonce.workflows.diagnose:diagnose",
        summary="Explain why a detector detects nothing.",
        shown_by="lookonce.workflows.diagnose:as_text",
    ),
    "predict": Verb(
        target="lookonce.workflows.predict:predict", summary="Detect objects in images or video, and draw them."
    ),
    "export": Verb(
        target="lookonce.workflows.export:export",
        summary="Export to other runtimes, and compare outputs.",
        renames={"list_formats": "list"},
    ),
    "verify": Verb(
        target="lookonce.workflows.verify:verify",
        summary="Compare exported files with their weights on images.",
        shown_by="lookonce.workflows.verify:lines",
    ),
    "convert": Verb(
        target="lookonce.workflows.convert:convert",
        summary="Convert weights from and to other programs.",
        shown_by="lookonce.workflows.convert:as_text",
    ),
    "push": Verb(
        target="lookonce.workflows.hub:push",
        summary="Upload weights to the Hugging Face Hub or a folder.",
    ),
    "pull": Verb(target="lookonce.workflows.hub:pull", summary="Download weights that were pushed."),
    "check": Verb(
        target="lookonce.workflows.check:check",
        summary="Check labelled images for errors.",
        shown_by="lookonce.workflows.check:as_text",
        renames={"json_file": "json"},
    ),
    "explain-assignment": Verb(
        target="lookonce.workflows.explain_assignment:explain_assignment",
        summary="Show which anchors are assigned to which box.",
        shown_by="lookonce.workflows.explain_assignment:as_text",
    ),
    "anchors": Verb(
        target="lookonce.workflows.anchors:anchors",
        summary="Fit anchors to the box sizes of a data set.",
        shown_by="lookonce.workflows.anchors:as_text",
    ),
    "convert-data": Verb(
        target="lookonce.workflows.convert_data:convert_data",
        summary="Convert a data set to another format.",
        shown_by="lookonce.workflows.convert_data:as_text",
    ),
    "job": Verb(
        target="lookonce.cloud.job:job",
        summary="Run a training or evaluation as a cloud job.",
        tolerant=True,
    ),
    "config": Verb(target="lookonce.workflows.config:config", summary="Show every setting, its value and its origin."),
    "info": Verb(target="lookonce.workflows.info:info", summary="Describe a set of weights, layer by layer."),
    "bench": Verb(target="lookonce.workflows.bench:bench", summary="Measure latency and throughput on this machine."),
    "report": Verb(target="lookonce.workflows.report:report", summary="Write an HTML report of a run."),
    "demo": Verb(target="lookonce.workflows.demo:demo", summary="Train, evaluate and export on synthetic images."),
    "doctor": Verb(
        target="lookonce.workflows.doctor:doctor", summary="Report what this machine has, and what is missing."
    ),
}
