"""Writes the page: a folder of static files that detects in the browser and needs no network besides its own files."""

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from lookonce.colors import class_color, css_color, text_color
from lookonce.errors import WeightsError
from lookonce.protobuf import all_fields, as_field, fields
from lookonce.runtimes.exported import DETECTION_OUTPUTS, THRESHOLDS
from lookonce.runtimes.onnx import OnnxRuntime
from lookonce.web.runtime import write_runtime

ASSETS = ("index.html", "page.css", "page.js", "view.js", "detect.js", "worker.js")
GRAPH, INITIALIZER, TENSOR_NAME = 7, 5, 8  # field numbers of onnx.proto
# The part of the record that the page reads. Settings of the training, with paths of its machine, are not among them.
READ = {"class_names", "image_size", "preprocessing", "thresholds"}


def write_site(folder: Path, model: Path, title: str) -> None:
    """All files of the page -> `folder`, which exists. model: an .onnx file that outputs detections."""
    runtime = OnnxRuntime(model, threads=1)
    require_usable(runtime)
    for name in ASSETS:
        (folder / name).write_bytes((resources.files("lookonce.web") / name).read_bytes())
    content = without_defaults(runtime.content)
    (folder / "model.onnx").write_bytes(content)
    colors = [class_color(label) for label in range(runtime.record.num_classes)]
    of_text = [css_color(text_color(color)) for color in colors]
    more = {"title": title, "colors": [css_color(color) for color in colors], "text_colors": of_text}
    record = runtime.record.model_dump(mode="json", include=READ) | more | {"model_bytes": len(content)}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    write_runtime(folder)
    # Netlify and Cloudflare Pages read this file.
    lines = [f"  {name}: {value}\n" for name, value in headers(folder).items()]
    (folder / "_headers").write_text("/*\n" + "".join(lines), encoding="utf-8")


def without_defaults(model: bytes) -> bytes:
    """The .onnx file, whose thresholds are optional inputs, without their default values: ONNX Runtime for browsers
    knows no optional inputs."""
    return b"".join(
        as_field(GRAPH, b"".join(_without_thresholds(value)))
        if number == GRAPH and isinstance(value, memoryview)
        else whole
        for number, value, whole in all_fields(memoryview(model))
    )


def _without_thresholds(graph: memoryview) -> Iterator[memoryview]:
    """The bytes of a graph's fields, without the initializers of these names."""
    for number, value, whole in all_fields(graph):
        parts = fields(value) if number == INITIALIZER and isinstance(value, memoryview) else []
        if not any(part == TENSOR_NAME and bytes(name).decode() in THRESHOLDS for part, name in parts):
            yield whole


def require_usable(runtime: OnnxRuntime) -> None:
    """WeightsError for a file that does not take pixels and output detections, or is resized as the page cannot."""
    interface, interpolation = runtime.interface, runtime.record.preprocessing.interpolation
    if interface.outputs != DETECTION_OUTPUTS or interface.takes != "pixels" or interface.batch > 1:
        given = f"takes {interface.takes}, batch {interface.batch or 'any'}, outputs {', '.join(interface.outputs)}"
        expected = "expected pixels, batch 1 or any, detections; export it with `lookonce export WEIGHTS`"
        raise WeightsError.at(runtime.path, f"{given}; {expected}")
    if interpolation != "linear":
        problem = f"interpolation {interpolation}; expected linear, the only one of the page"
        raise WeightsError.at(runtime.path, problem, value=interpolation)


def headers(folder: Path) -> dict[str, str]:
    """HTTP headers of a page in `folder`. The first two allow threads; workers need the HTML's policy as a header."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    return {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Content-Security-Policy": f"{policy[1]}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
