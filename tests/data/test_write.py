import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lookonce.data.dataset import Dataset
from lookonce.data.source import open_data
from lookonce.data.write import Format, write_data

# A name that all formats, YAML, XML and JSON have to carry; no line breaks, which lists of names cannot hold.
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=8).map(
    lambda text: f"n{text.strip()}"
)


@st.composite
def boxes_in(draw: st.DrawFn, width: int, height: int) -> tuple[float, float, float, float]:
    """Corners in thousandths of a pixel, which every format gives back to the last bit."""
    left, right = sorted(draw(st.tuples(st.integers(0, width * 1000 - 1), st.integers(1, width * 1000))))
    top, bottom = sorted(draw(st.tuples(st.integers(0, height * 1000 - 1), st.integers(1, height * 1000))))
    return left / 1000, top / 1000, max(right, left + 1) / 1000, max(bottom, top + 1) / 1000


@st.composite
def datasets(draw: st.DrawFn, folder: Path, split: str, class_names: tuple[str, ...]) -> Dataset:
    """One to three pictures of any size with up to four boxes each, which lie in `folder`."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=1, max_size=3))
    boxes = [draw(st.lists(boxes_in(*size), max_size=4)) for size in sizes]
    count = sum(map(len, boxes))
    return Dataset(
        split=split,
        image_paths=[folder / f"{split} {number}.png" for number in range(len(sizes))],
        image_ids=np.arange(1, len(sizes) + 1, dtype=np.int64),
        image_sizes_wh=np.array(sizes, np.int32),
        box_offsets=np.concatenate([[0], np.cumsum([len(some) for some in boxes])]).astype(np.int64),
        boxes_xyxy=np.array([box for some in boxes for box in some], np.float64).reshape(-1, 4),
        labels=np.array(draw(st.lists(st.integers(0, len(class_names) - 1), min_size=count, max_size=count)), np.int64),
        crowd=np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_),
        areas=np.ones(count),
        class_names=class_names,
        category_ids=tuple(range(1, len(class_names) + 1)),
    )


@pytest.mark.parametrize("to", ["coco", "voc", "yolo", "labelme", "cvat", "label-studio"])
@settings(max_examples=6)  # each writes and reads two splits
@given(data=st.data())
def test_whatever_is_written_reads_back_bit_for_bit(to: Format, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = tuple(data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
        splits = [data.draw(datasets(folder, split, names)) for split in ("train", "val")]
        for dataset in splits:
            for path, size in zip(dataset.image_paths, dataset.image_sizes_wh.tolist(), strict=True):
                Image.new("RGB", tuple(size)).save(path)
        copy = write_data(splits, folder / "copy", to=to)
        assert copy.largest_difference == 0
        source = open_data(copy.folder)
        for dataset in splits:
            again = source.split(dataset.split)
            kept = ~dataset.crowd if to not in {"coco", "voc"} else np.ones(len(dataset.crowd), bool)
            np.testing.assert_array_equal(again.boxes_xyxy, dataset.boxes_xyxy[kept])
            np.testing.assert_array_equal(again.labels, dataset.labels[kept])
            np.testing.assert_array_equal(again.image_sizes_wh, dataset.image_sizes_wh)
            assert again.class_names == names
            assert [path.name for path in again.image_paths] == [path.name for path in dataset.image_paths]
