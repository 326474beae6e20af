"""Table of the verbs of `lookonce`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from lookonce.layout import Layout
from lookonce.targets import imported


@dataclass(frozen=True, kw_only=True)
class Verb:
    """target: "module:function", imported when the verb is used; summary: its line in `lookonce --help`.

    requires: "module:function" that is called with the same options before the target is imported, to raise what it can
    without PyTorch. from_settings: the function takes every setting by name (**flags), so help does not import it.
    is_file: the lines of the result are a file's, in which `lookonce VERB` is not written as it is typed here.
    renames: parameter -> option, where they differ. traits: parameter -> arguments of cyclopts' Parameter that its
    signature does not imply. tolerant: options that are not parameters of the function are passed to its **flags as
    typed. is_job_when: a switch that runs the verb as `job`. examples: two command lines, without `lookonce`, for its
    help.
    """

    target: str
    summary: str
    requires: str = ""
    from_settings: bool = False
    is_file: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tolerant: bool = False
    is_job_when: str = ""
    examples: tuple[str, ...] = ()

    def load(self) -> Callable[..., Any]:
        loaded: Callable[..., Any] = imported(self.target)
        return loaded

    @property
    def as_text(self) -> Callable[..., Iterable[str]]:
        """Formats the result: `as_text` of the function's module."""
        loaded: Callable[..., Iterable[str]] = imported(f"{self.target.partition(':')[0]}:as_text")
        return loaded

    @property
    def takes_layout(self) -> bool:
        """Whether the text has tables, which are fitted to the terminal."""
        return "layout" in signature(self.as_text).parameters

    def lines(self, result: Any, layout: Layout) -> Iterable[str]:
        """Lines to print after the function has returned; only the main rank prints."""
        if not getattr(result, "is_main", True):
            return ()
        return self.as_text(result, layout) if self.takes_layout else self.as_text(result)


# Missing module -> the extra that installs it.
EXTRAS = {"torch": "train", "onnx": "train", "huggingface_hub": "hub"}
NO_DEFAULT = {"show_default": False}

VERBS: dict[str, Verb] = {
    "train": Verb(
        target="lookonce.workflows.train:train",
        summary="Train a detector on labelled images.",
        requires="lookonce.workflows.train_inputs:require_inputs",
        from_settings=True,
        is_job_when="enable_modelarts",
        examples=("train --data data/ --epochs 30", "train --resume"),
    ),
    "eval": Verb(
        target="lookonce.workflows.evaluate:evaluate",
        summary="Evaluate a detector with COCO's metric (AP, AR).",
        traits={"store_thresholds": NO_DEFAULT},
        is_job_when="enable_modelarts",
        examples=(
            "eval --weights runs/train-1 --data data/",
            "eval --weights model.onnx --data data/ --split test --output scores",
        ),
    ),
    "diagnose": Verb(
        target="lookonce.workflows.diagnose:diagnose",
        summary="Explain why a detector detects nothing.",
        examples=("diagnose runs/train-1", "diagnose coco --data data/"),
    ),
    "predict": Verb(
        target="lookonce.workflows.predict:predict",
        summary="Detect objects in images or video, and draw them.",
        traits={"source": {"allow_leading_hyphen": True}, "weights": NO_DEFAULT},  # `-` is standard input
        examples=("predict photos/ --weights runs/train-1 --threshold 0.4", "predict 0 --weights model.onnx --track"),
    ),
    "export": Verb(
        target="lookonce.workflows.export:export",
        summary="Export to other runtimes, and compare outputs.",
        renames={"list_formats": "list"},
        examples=("export runs/train-1 --to onnx,openvino", "export runs/train-1 --to onnx --image-size 320 --batch 1"),
    ),
    "verify": Verb(
        target="lookonce.workflows.verify:verify",
        summary="Compare exported files with their weights on images.",
        examples=(
            "verify runs/train-1 model.onnx --data data/",
            "verify runs/train-1 runs/train-1/*.onnx --data data/ --runtimes all",
        ),
    ),
    "convert": Verb(
        target="lookonce.workflows.convert:convert",
        summary="Convert weights from and to other programs.",
        examples=(
            "convert yolov3-tiny.cfg yolov3-tiny.weights --output weights/mine",
            "convert runs/train-1 --to darknet --output mine.weights",
        ),
    ),
    "push": Verb(
        target="lookonce.workflows.hub:push",
        summary="Upload weights to the Hugging Face Hub or a folder.",
        examples=("push runs/train-1 OWNER/NAME", "push runs/train-1 ./shared/mine"),
    ),
    "pull": Verb(
        target="lookonce.workflows.hub:pull",
        summary="Download published weights, or those pushed.",
        examples=("pull coco", "pull OWNER/NAME --output weights/theirs"),
    ),
    "check": Verb(
        target="lookonce.workflows.check:check",
        summary="Check labelled images for errors.",
        renames={"json_file": "json"},
        examples=("check data/", "check data/ --html check.html --fix data-fixed"),
    ),
    "explain-assignment": Verb(
        target="lookonce.workflows.explain_assignment:explain_assignment",
        summary="Show which anchors are assigned to which box.",
        examples=("explain-assignment data/", "explain-assignment data/ --weights runs/train-1 --output anchors.png"),
    ),
    "anchors": Verb(
        target="lookonce.workflows.anchors:anchors",
        summary="Fit anchors to the box sizes of a data set.",
        examples=("anchors data/", "anchors data/ --image-size 320 --plot anchors.svg"),
    ),
    "convert-data": Verb(
        target="lookonce.workflows.convert_data:convert_data",
        summary="Convert a data set to another format.",
        traits={"stratify": {"negative": "--no-stratify"}},
        examples=("convert-data data/ data-yolo --to yolo", "convert-data data/ small --to coco --classes person,dog"),
    ),
    "job": Verb(
        target="lookonce.cloud.job:job",
        summary="Run a training or evaluation as a cloud job.",
        tolerant=True,
        examples=(
            "job --data_url s3://bucket/data --train_url s3://bucket/runs",
            "job --task eval --data_url /data --checkpoint_url /weights",
        ),
    ),
    "job-file": Verb(
        target="lookonce.cloud.job_file:job_file",
        summary="Print a cloud job as a file for a cluster.",
        is_file=True,
        tolerant=True,
        examples=(
            "job-file kubernetes --image IMAGE --devices 8 --data_url s3://bucket/data --train_url s3://bucket/runs",
            "job-file skypilot --image IMAGE --gpu L4 --data_url s3://bucket/data --train_url s3://bucket/runs",
        ),
    ),
    "config": Verb(
        target="lookonce.workflows.config:config",
        summary="Show every setting, its value and its origin.",
        examples=("config --recipe modelzoo", "config --file mine.yaml --epochs 30"),
    ),
    "info": Verb(
        target="lookonce.workflows.info:info",
        summary="Describe a set of weights, layer by layer.",
        examples=("info runs/train-1", "info --num-classes 3 --width 0.5"),
    ),
    "bench": Verb(
        target="lookonce.workflows.bench:bench",
        summary="Measure latency and throughput on this machine.",
        examples=("bench model.onnx", "bench model.onnx model.xml --threads 1,2 --seconds 2"),
    ),
    "report": Verb(
        target="lookonce.workflows.report:report",
        summary="Write an HTML report of a run.",
        traits={"score": NO_DEFAULT},
        examples=("report runs/train-1", "report runs/train-1 runs/train-2 --output compared.html"),
    ),
    "monitor": Verb(
        target="lookonce.workflows.monitor:monitor",
        summary="Follow runs in the browser while they train.",
        examples=("monitor runs/train-1", "monitor runs/train-1 runs/train-2 --output now.html"),
    ),
    "demo": Verb(
        target="lookonce.workflows.demo:demo",
        summary="Train, evaluate and export on synthetic images.",
        examples=("demo", "demo --epochs 4 --output try"),
    ),
    "page": Verb(
        target="lookonce.workflows.page:page",
        summary="Write a web page that detects in the browser.",
        traits={"weights": NO_DEFAULT},
        examples=("page runs/train-1", "page model.onnx --output site --serve"),
    ),
    "serve": Verb(
        target="lookonce.serving.serve:serve",
        summary="Serve detections over HTTP.",
        examples=("serve model.onnx", "serve runs/train-1 model.onnx --port 9000 --json-log"),
    ),
    "doctor": Verb(
        target="lookonce.workflows.doctor:doctor",
        summary="Report what this machine has, and what is missing.",
        examples=("doctor", "doctor --bundle report.zip --run runs/train-1"),
    ),
}
