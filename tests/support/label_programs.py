"""Writes labelled images with real labelling programs: `python label_programs.py PROGRAM SOURCE OUTPUT`.

It runs in the environment of these programs (`./run labels`), without lookonce. SOURCE is a JSON file: {"names": [...],
"images": [{"path", "split", "size_wh", "boxes": [[class, left, top, right, bottom], ...]}, ...]}. Each format becomes a
folder of OUTPUT.
"""

import json
import shutil
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
    for name in ("coco", "coco_instances", "cvat", "datumaro", "open_images", "voc", "yolo", "yolo_ultralytics"):
        dataset.export(str(output / name), name, save_media=True)


def supervision(source, output):
    import cv2
    import numpy as np
    from supervision import DetectionDataset, Detections

    for split in ("train", "val"):
        found = [image for image in source["images"] if image["split"] == split]
        annotations = {
            image["path"]: Detections(
                xyxy=np.array([box[1:] for box in image["boxes"]], float).reshape(-1, 4),
                class_id=np.array([box[0] for box in image["boxes"]], int),
            )
            for image in found
        }
        images = {image["path"]: cv2.imread(image["path"]) for image in found}
        dataset = DetectionDataset(classes=source["names"], images=images, annotations=annotations)
        coco, voc, yolo = (output / name / split for name in ("coco", "voc", "yolo"))
        dataset.as_coco(images_directory_path=str(coco), annotations_path=str(coco / "_annotations.coco.json"))
        dataset.as_pascal_voc(images_directory_path=str(voc), annotations_directory_path=str(voc))
        dataset.as_yolo(
            images_directory_path=str(yolo / "images"),
            annotations_directory_path=str(yolo / "labels"),
            data_yaml_path=str(output / "yolo" / "data.yaml"),
        )


def labelme2coco(source, output):
    """LabelMe files, converted."""
    from labelme2coco import convert

    for image in source["images"]:
        folder = output / "labelme" / image["split"]
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(shutil.copy(image["path"], folder))
        shapes = [
            {"label": source["names"][box[0]], "points": [box[1:3], box[3:5]], "shape_type": "rectangle", "flags": {}}
            for box in image["boxes"]
        ]
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": path.name, "imageData": None}
        content |= dict(zip(("imageWidth", "imageHeight"), image["size_wh"], strict=True))
        path.with_suffix(".json").write_text(json.dumps(content))
    convert(str(output / "labelme"), str(output / "coco"))
    for folder in ("train", "val"):
        shutil.copytree(
            output / "labelme" / folder,
            output / "coco",
            dirs_exist_ok=True,
            ignore=lambda _, names: [name for name in names if name.endswith(".json")],
        )


def label_studio(source, output):
    """An export of Label Studio's tasks, converted as its server does."""
    from label_studio_converter import Converter

    interface = '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    interface += "".join(f'<Label value="{name}"/>' for name in source["names"]) + "</RectangleLabels></View>"
    tasks = []
    for number, image in enumerate(source["images"], start=1):
        width, height = image["size_wh"]
        results = [
            {
                "id": f"{number}-{row}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "value": {
                    "x": left / width * 100,
                    "y": top / height * 100,
                    "width": (right - left) / width * 100,
                    "height": (bottom - top) / height * 100,
                    "rotation": 0,
                    "rectanglelabels": [source["names"][label]],
                },
            }
            for row, (label, left, top, right, bottom) in enumerate(image["boxes"])
        ]
        tasks.append(
            {"id": number, "data": {"image": image["path"]}, "annotations": [{"id": number, "result": results}]}
        )
    file = output / "tasks.json"
    file.write_text(json.dumps(tasks))
    converter = Converter(interface, str(output), download_resources=False)
    for name, convert in (
        ("coco", converter.convert_to_coco),
        ("voc", converter.convert_to_voc),
        ("yolo", converter.convert_to_yolo),
    ):
        images = output / name / "images"
        images.mkdir(parents=True)
        for image in source["images"]:
            shutil.copy(image["path"], images)
        convert(str(file), str(output / name), output_image_dir=str(images), is_dir=False)


PROGRAMS = {
    "datumaro": datumaro,
    "supervision": supervision,
    "labelme2coco": labelme2coco,
    "label_studio": label_studio,
}

if __name__ == "__main__":
    folder = Path(sys.argv[3])
    folder.mkdir(parents=True)
    PROGRAMS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), folder)
