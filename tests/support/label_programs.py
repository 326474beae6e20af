"""Writes labelled images with real labelling programs: `python label_programs.py PROGRAM SOURCE OUTPUT`.

It runs in the environment of these programs (`./run labels`), without lookonce. SOURCE is a JSON file: {"names": [...],
"images": [{"path", "split", "size_wh", "boxes": [[class, left, top, right, bottom], ...]}, ...]}. Each format becomes a
folder of OUTPUT.
"""

import json
import sys
from pathlib import Path


def datumaro(source, output):
    from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    items = []
    for image in source["images"]:
        boxes = [
            Bbox(left, top, right - left, bottom - top, label=label, id=number, group=number)
            for number, (label, left, top, right, bottom) in enumerate(image["boxes"], start=1)
        ]
        media = Image.from_file(image["path"], size=tuple(image["size_wh"][::-1]))
        items.append(DatasetItem(Path(image["path"]).stem, subset=image["split"], media=media, annotations=boxes))
    categories = {AnnotationType.label: LabelCategories.from_iterable(source["names"])}
    dataset = Dataset.from_iterable(items, categories=categories)
    for name in sys.argv[4:]:
        dataset.export(str(output / name), name, save_media=True)


PROGRAMS = {"datumaro": datumaro}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
