"""Create ML's JSON: a list of images, whose boxes are a centre and a size in pixels.

Source: https://developer.apple.com/documentation/createml/building-an-object-detector-data-source"""

from pathlib import Path

from lookonce.data.findings import Report
from lookonce.data.formats.records import LabelledBox, LabelledImage, entry_of, list_of, read_json
from lookonce.data.formats.shapes import of_centre

EXPECTED = "image and annotations with label and coordinates"


def parse_createml(path: Path, report: Report) -> list[LabelledImage]:
    images = []
    for number, item in enumerate(list_of(read_json(path, "a Create ML file")), start=1):
        place = f"{path} image {number}"
        with entry_of(path, place, item, EXPECTED, report):
            name = str(item.get("image") or item["imagefilename"])
            written = item.get("annotations", item.get("annotation")) or []
            boxes = tuple(
                LabelledBox(
                    name=str(one["label"]).strip(),
                    box_xyxy=of_centre(*(float(one["coordinates"][key]) for key in ("x", "y", "width", "height"))),
                    place=f"{place} box {row}",
                )
                for row, one in enumerate(written, start=1)
            )
            images.append(LabelledImage(file=path, name=name, boxes=boxes))
    return images
