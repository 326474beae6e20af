"""Contact sheets of an evaluation: ground truth beside predictions, for the worst and for evenly spaced images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from lookonce.letterbox import ImageArray
from lookonce.prediction.draw import draw, font_for
from lookonce.prediction.renderer import encode
from lookonce.reports.images import match
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord
from lookonce.storage import write_file

MASK_IMAGES, MASK_SIDE = 8, 640  # of `write_masks`
IMAGE_SIDE = 440  # pixels, of each of the two images of a pair
BATCH_IMAGES, BATCH_SIDE, BATCH_QUALITY = 16, 240, 75  # images on the sheet of a batch; pixels; of JPEG
VALIDATION_IMAGES = 4  # reading and drawing them takes 0.1 s after each evaluation
GAP, HEADING, LETTERS = 8, 26, 14
PAIR_WIDTH = 2 * IMAGE_SIDE + GAP // 2
MISTAKE_COLOR = (230, 20, 20)
GROUND, INK = (21, 26, 33), (231, 235, 241)  # dark: a white one glares on a dark page
JPEG_QUALITY = 88


def write_sheets(folder: Path, dataset: Dataset, results: Results, analysis: Analysis, count: int) -> list[Path]:
    """Writes worst.jpg and images.jpg with up to `count` images each; omits a sheet if image files are missing."""
    files, best = [], analysis.best_thresholds()
    lowest = [best.get(name, SHOWN_SCORE) for name in dataset.class_names]
    chosen = {"worst.jpg": analysis.images.worst()[:count], "images.jpg": even_choice(len(dataset), count)}
    for name, rows in chosen.items():
        if len(rows) and not missing_rows([dataset.image_paths[row] for row in rows]):
            files.append(folder / name)
            _write_pairs(files[-1], dataset, results, lowest, rows.tolist())
    return files


def _write_pairs(
    file: Path,
    dataset: Dataset,
    results: Results,
    lowest: Sequence[float],
    rows: Sequence[int],
    quality: int = JPEG_QUALITY,
) -> None:
    pairs = [_pair(dataset, results, lowest, row) for row in rows]
    sheet = arranged(pairs, columns=2, cell_width=PAIR_WIDTH)
    write_file(file, encode(sheet, ".jpg", quality))


def write_validation(file: Path, dataset: Dataset, results: Results, threshold: float) -> None:
    """Writes a sheet of up to VALIDATION_IMAGES images, the same for each epoch: ground truth, then predictions.

    threshold: of the predictions, such as the one with the best F1; below 0 it is unknown, and SHOWN_SCORE is taken.
    """
    lowest = [threshold if threshold >= 0 else SHOWN_SCORE] * len(dataset.class_names)
    rows = even_choice(len(dataset), VALIDATION_IMAGES).tolist()
    _write_pairs(file, dataset, results, lowest, rows, BATCH_QUALITY)


def write_overlay(file: Path, dataset: Dataset, count: int) -> None:
    """Writes a sheet of up to `count` images with their ground truth; writes nothing if all image files are missing."""
    rows = [row for row in even_choice(len(dataset), count).tolist() if dataset.image_paths[row].is_file()]
    if not rows:
        return
    cells = []
    for row in rows:
        path, truth = dataset.image_paths[row], truth_of(dataset, row)
        drawn = _drawn(read_image(path), truth, dataset.class_names, show_scores=False)
        cells.append(headed(drawn, path.name, f": {counted(len(truth), 'box')}", IMAGE_SIDE))
    write_file(file, encode(arranged(cells, columns=4, cell_width=IMAGE_SIDE), ".jpg", JPEG_QUALITY))


def write_batch(file: Path, batch: Batch, class_names: Sequence[str]) -> None:
    """Writes up to BATCH_IMAGES images of a training batch with their boxes, as the network gets them."""
    cells = []
    for row, image in enumerate(batch.images[:BATCH_IMAGES]):
        own = batch.image_index == row
        scores = np.ones(own.sum(), np.float32)
        boxes = Detections(boxes_xyxy=batch.boxes_xyxy[own], scores=scores, labels=batch.labels[own])
        cells.append(_drawn(image, boxes, class_names, side=BATCH_SIDE, show_scores=False))
    sheet = arranged(cells, columns=4, cell_width=max(cell.shape[1] for cell in cells))
    write_file(file, encode(sheet, ".jpg", BATCH_QUALITY))


def write_masks(
    file: Path, canvases: NDArray[np.uint8], found: Mapping[str, Sequence[Detections]], record: ModelRecord
) -> None:
    """Writes a sheet with a row for each network input, at most MASK_IMAGES, and a column for each anchor mask.

    canvases (B, H, W, 3) uint8 RGB. found: name of the mask -> detections in each of them, in pixels of the input.
    """
    cells = []
    for place, canvas in enumerate(canvases[:MASK_IMAGES]):
        for name, of_mask in found.items():
            shown = of_mask[place].select(of_mask[place].scores > record.thresholds.score)
            cells.append(headed(_drawn(canvas, shown, record.class_names, side=MASK_SIDE), name, "", MASK_SIDE))
    write_file(file, encode(arranged(cells, columns=len(found), cell_width=cells[0].shape[1]), file.suffix))


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


def _pair(dataset: Dataset, results: Results, lowest: Sequence[float], index: int) -> ImageArray:
    """Heading, ground truth and predictions of one image; errors have a red frame. lowest: as of `found_in`."""
    path, names = dataset.image_paths[index], dataset.class_names
    image, truth, found = read_image(path), truth_of(dataset, index), found_in(dataset, results, index, lowest)
    hit_truth, hit_found = match(truth, found)
    left = _drawn(image, truth, names, framed=~hit_truth, show_scores=False)
    right = _drawn(image, found, names, framed=~hit_found)
    missed, wrong = int((~hit_truth).sum()), int((~hit_found).sum())
    counts = f": {len(truth)} labelled (left), {missed} missed; {len(found)} detected, {wrong} wrong; errors in red"
    gap = np.full((len(left), GAP // 2, 3), GROUND, np.uint8)
    return headed(np.concatenate([left, gap, right], axis=1), path.name, counts, PAIR_WIDTH)


def _drawn(
    image: ImageArray,
    boxes: Detections,
    class_names: Sequence[str],
    *,
    side: int = IMAGE_SIDE,
    framed: NDArray[np.bool_] | None = None,
    show_scores: bool = True,
) -> ImageArray:
    """The image scaled to `side` pixels on its longer side, with its boxes; those of the mask `framed` get a second,
    red frame two pixels outside."""
    scale = side / max(image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8)
    scaled = replace(boxes, boxes_xyxy=(boxes.boxes_xyxy * scale).astype(np.float32))
    for box in [] if framed is None else scaled.boxes_xyxy[framed]:  # below the boxes and tags, which stay readable
        left, top, right, bottom = np.rint(box).astype(int).tolist()
        cv2.rectangle(small, (left - 3, top - 3), (right + 2, bottom + 2), MISTAKE_COLOR, thickness=2)
    return draw(small, scaled, class_names, show_scores=show_scores)


def headed(image: ImageArray, name: str, counts: str, width: int) -> ImageArray:
    """The image below its name and counts, in a cell of that width. Long names lose their start: ends differ more."""
    cut, font = name, font_for(name, LETTERS) or ImageFont.load_default(LETTERS)
    while cut and font.getlength(title := (name if cut == name else f"...{cut}") + counts) > width - 2:
        cut = cut[1:]
    cell = np.full((HEADING + image.shape[0], width, 3), GROUND, np.uint8)
    cell[HEADING:, : image.shape[1]] = image
    strip = Image.fromarray(cell[:HEADING])
    ImageDraw.Draw(strip).text((1, 5), title, fill=INK, font=font)
    cell[:HEADING] = np.asarray(strip)
    return cell


def arranged(cells: Sequence[ImageArray], *, columns: int, cell_width: int) -> ImageArray:
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
