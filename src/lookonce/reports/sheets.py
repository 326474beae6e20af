"""Contact sheets of an evaluation: ground truth beside predictions, for the worst and for evenly spaced images."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lookonce.boxes import xywh_to_xyxy
from lookonce.data.dataset import Dataset
from lookonce.data.headers import missing_rows
from lookonce.data.images import read_image
from lookonce.data.loader import Batch
from lookonce.data.selection import even_choice
from lookonce.detections import Detections
from lookonce.evaluation.analysis import SHOWN_SCORE, Analysis
from lookonce.evaluation.results import Results
from lookonce.prediction.draw import draw
from lookonce.reports.images import match
from lookonce.storage import write_file

ImageArray = NDArray[np.uint8]

IMAGE_SIDE = 440  # pixels, of each of the two images of a pair
BATCH_IMAGES, BATCH_SIDE, BATCH_QUALITY = 16, 240, 75  # images on the sheet of a batch; pixels; of JPEG
VALIDATION_IMAGES = 4  # reading and drawing them takes 0.1 s after each evaluation
GAP, HEADING, FONT = 8, 26, ImageFont.load_default(14)
PAIR_WIDTH = 2 * IMAGE_SIDE + GAP // 2
MISTAKE_COLOR = (230, 20, 20)
GROUND, INK = (255, 255, 255), (28, 36, 48)
JPEG_QUALITY = 88


def write_sheets(folder: Path, dataset: Dataset, results: Results, analysis: Analysis, count: int) -> list[Path]:
    """Writes worst.jpg and images.jpg with up to `count` images each; omits a sheet if image files are missing."""
    worst = analysis.images.worst()[:count]
    files = []
    for name, rows in (("worst.jpg", worst), ("images.jpg", even_choice(len(dataset), count))):
        if len(rows) and not missing_rows([dataset.image_paths[row] for row in rows]):
            lowest = lowest_scores(dataset, analysis)
            pairs = [_pair(dataset, results, lowest, row) for row in rows.tolist()]
            write_file(folder / name, _jpeg(_arranged(pairs, columns=2, cell_width=PAIR_WIDTH)))
            files.append(folder / name)
    return files


def write_validation(file: Path, dataset: Dataset, results: Results, threshold: float) -> None:
    """Writes a sheet of up to VALIDATION_IMAGES images, the same for each epoch: ground truth, then predictions.

    threshold: of the predictions, such as the one with the best F1; below 0 it is unknown, and SHOWN_SCORE is taken.
    """
    lowest = [threshold if threshold >= 0 else SHOWN_SCORE] * len(dataset.class_names)
    rows = even_choice(len(dataset), VALIDATION_IMAGES).tolist()
    pairs = [_pair(dataset, results, lowest, row) for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet = _arranged(pairs, columns=2, cell_width=PAIR_WIDTH)
    write_file(file, _jpeg(sheet, BATCH_QUALITY))


def write_overlay(file: Path, dataset: Dataset, count: int) -> None:
    """Writes a sheet of up to `count` images with their ground truth; writes nothing if all image files are missing."""
    rows = [row for row in even_choice(len(dataset), count).tolist() if dataset.image_paths[row].is_file()]
    if not rows:
        return
    cells = []
    for row in rows:
        small, scale = _small(read_image(dataset.image_paths[row]))
        truth = truth_of(dataset, row)
        drawn = draw(small, _scaled(truth, scale), dataset.class_names, show_scores=False)
        boxes = "box" if len(truth) == 1 else "boxes"
        cells.append(_headed(drawn, dataset.image_paths[row].name, f": {len(truth)} {boxes}", IMAGE_SIDE))
    write_file(file, _jpeg(_arranged(cells, columns=4, cell_width=IMAGE_SIDE)))


def write_batch(file: Path, batch: Batch, class_names: Sequence[str]) -> None:
    """Writes up to BATCH_IMAGES images of a training batch with their boxes, as the network gets them."""
    cells = []
    for row, image in enumerate(batch.images[:BATCH_IMAGES]):
        own = batch.image_index == row
        boxes = Detections(
            boxes_xyxy=batch.boxes_xyxy[own], scores=np.ones(own.sum(), np.float32), labels=batch.labels[own]
        )
        small, scale = _small(image, BATCH_SIDE)
        cells.append(draw(small, _scaled(boxes, scale), class_names, show_scores=False))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet = _arranged(cells, columns=4, cell_width=max(cell.shape[1] for cell in cells))
    write_file(file, _jpeg(sheet, BATCH_QUALITY))


def truth_of(dataset: Dataset, index: int) -> Detections:
    """The ground truth of one image, without crowds."""
    rows = dataset.rows(index)
    kept = ~dataset.crowd[rows]
    boxes = dataset.boxes_xyxy[rows][kept].astype(np.float32)
    return Detections(boxes_xyxy=boxes, scores=np.ones(len(boxes), np.float32), labels=dataset.labels[rows][kept])


def found_in(dataset: Dataset, results: Results, index: int, lowest: Sequence[float]) -> Detections:
    """Detections of one image that reach the threshold of their class, highest score first; lowest (C,) by label."""
    rows = np.flatnonzero(results.image_ids == dataset.image_ids[index])
    rows = rows[results.scores[rows] >= np.asarray(lowest)[results.labels[rows]]]
    rows = rows[np.argsort(-results.scores[rows], kind="stable")]
    return Detections(
        boxes_xyxy=np.asarray(xywh_to_xyxy(results.boxes_xywh[rows]), np.float32),
        scores=results.scores[rows].astype(np.float32),
        labels=results.labels[rows],
    )


def lowest_scores(dataset: Dataset, analysis: Analysis) -> list[float]:
    """(C,) by label: the best threshold of each class, SHOWN_SCORE for a class without one."""
    best = analysis.best_thresholds()
    return [best.get(name, SHOWN_SCORE) for name in dataset.class_names]


def _pair(dataset: Dataset, results: Results, lowest: Sequence[float], index: int) -> ImageArray:
    """Heading, ground truth and predictions of one image; errors have a red frame. lowest: as of `found_in`."""
    image = read_image(dataset.image_paths[index])
    truth = truth_of(dataset, index)
    found = found_in(dataset, results, index, lowest)
    hit_truth, hit_found = match(truth, found)
    small, scale = _small(image)
    names = dataset.class_names
    left = _framed(
        draw(small, _scaled(truth, scale), names, show_scores=False), _scaled(truth.select(~hit_truth), scale)
    )
    right = _framed(draw(small, _scaled(found, scale), names), _scaled(found.select(~hit_found), scale))
    missed, wrong = int((~hit_truth).sum()), int((~hit_found).sum())
    counts = f": {len(truth)} labelled, {missed} missed, false positives: {wrong}"
    gap = np.full((small.shape[0], GAP // 2, 3), GROUND, np.uint8)
    return _headed(np.concatenate([left, gap, right], axis=1), dataset.image_paths[index].name, counts, PAIR_WIDTH)


def _small(image: ImageArray, side: int = IMAGE_SIDE) -> tuple[ImageArray, float]:
    """The image scaled to that many pixels on its longer side, and the scale factor."""
    scale = side / max(image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8), scale


def _scaled(boxes: Detections, scale: float) -> Detections:
    return Detections(
        boxes_xyxy=(boxes.boxes_xyxy * scale).astype(np.float32), scores=boxes.scores, labels=boxes.labels
    )


def _framed(image: ImageArray, boxes: Detections) -> ImageArray:
    """Draws a second frame, two pixels outside each box."""
    framed = image.copy()
    for left, top, right, bottom in np.rint(boxes.boxes_xyxy).astype(int).tolist():
        cv2.rectangle(framed, (left - 3, top - 3), (right + 2, bottom + 2), MISTAKE_COLOR, thickness=2)
    return framed


def _headed(image: ImageArray, name: str, counts: str, width: int) -> ImageArray:
    """The image below its name and counts, in a cell of that width. Long names lose their start: ends differ more."""
    cut = name
    while cut and FONT.getlength(title := (name if cut == name else f"...{cut}") + counts) > width - 2:
        cut = cut[1:]
    cell = np.full((HEADING + image.shape[0], width, 3), GROUND, np.uint8)
    cell[HEADING:, : image.shape[1]] = image
    strip = Image.fromarray(cell[:HEADING])
    ImageDraw.Draw(strip).text((1, 5), title, fill=INK, font=FONT)
    cell[:HEADING] = np.asarray(strip)
    return cell


def _arranged(cells: Sequence[ImageArray], *, columns: int, cell_width: int) -> ImageArray:
    """A sheet with rows of cells; each row is as high as its highest cell."""
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) + GAP for row in rows]
    width = min(columns, len(cells)) * (cell_width + GAP) + GAP
    sheet = np.full((sum(heights) + GAP, width, 3), GROUND, np.uint8)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            left = GAP + column * (cell_width + GAP)
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
        top += height
    return sheet


def _jpeg(image: ImageArray, quality: int = JPEG_QUALITY) -> bytes:
    _, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return content.tobytes()
