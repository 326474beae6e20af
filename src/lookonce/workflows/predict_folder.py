"""The output folder of `lookonce predict`: nothing in it is overwritten but the results of an earlier prediction."""

from pathlib import Path

from lookonce.errors import SettingsError
from lookonce.prediction.media import Media
from lookonce.prediction.outputs import LABELS, CocoFile
from lookonce.prediction.renderer import CROPS, require_untouched
from lookonce.storage import is_free, output_folder
from lookonce.workflows.predict_request import PredictRequest

PRE_LABELS = "pre-labels"  # folder of --as-labels in the output folder


def free_folder(request: PredictRequest, media: Media) -> Path:
    """The output folder; SettingsError if the images or files in it would be overwritten."""
    output = output_folder(request.output, "predict")
    repeats = is_of_prediction(output)
    words = [*request.saves, *(["as_labels"] if request.as_labels else [])]
    if "images" in words:
        require_untouched(media, output, repeats=repeats)
    kept = [("yolo", LABELS), ("crops", CROPS), ("as_labels", PRE_LABELS)]
    for word, name in kept if repeats else [*kept, ("json", CocoFile.name)]:  # eval's has the same name
        there = output / name  # which may be the user's own work
        if word in words and not is_free(there):
            problem = f"contains {name} already, which is not overwritten; name another folder"
            raise SettingsError.of("output", output, problem)
    return output


def is_of_prediction(folder: Path) -> bool:
    """Whether `folder` has the detections of an earlier prediction."""
    return any(folder.glob("detections.*"))


def written_at(folder: Path) -> dict[Path, int]:
    """When each file in `folder` was written last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
