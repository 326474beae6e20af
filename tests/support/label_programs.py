"""Writes labelled images with real labelling programs: `python label_programs.py PROGRAM SOURCE OUTPUT`.

It runs in the environments of these programs (`./run labels`, `./run fiftyone`), without lookonce. SOURCE is a JSON
file: {"names": [...], "images": [IMAGE, ...]}; an IMAGE is {"path", "split", "size_wh", "boxes": [[class, left, top,
right, bottom], ...]}. Each format becomes a folder of OUTPUT.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
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


def fiftyone(source, output):
    """With a MongoDB server of its own, which FiftyOne's start-up script does not find on every system."""
    database = output.parent / "database"
    database.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Path(find_spec("fiftyone").submodule_search_locations[0]) / "db" / "bin" / "mongod"
    command = [server, "--dbpath", database, "--port", str(port), "--bind_ip", "127.0.0.1", "--quiet"]
    os.environ |= {
        "FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}",  # the client waits until the server answers
        "FIFTYONE_DO_NOT_TRACK": "1",
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "HOME": str(output.parent),
    }
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        try:
            _fiftyone(source, output)
        finally:
            running.terminate()


def _fiftyone(source, output):
    import fiftyone as fo
    from fiftyone import types

    samples = fo.Dataset()
    for image in source["images"]:
        width, height = image["size_wh"]
        boxes = [
            fo.Detection(
                label=source["names"][label],
                bounding_box=[left / width, top / height, (right - left) / width, (bottom - top) / height],
            )
            for label, left, top, right, bottom in image["boxes"]
        ]
        sample = fo.Sample(filepath=image["path"], tags=[image["split"]], ground_truth=fo.Detections(detections=boxes))
        samples.add_sample(sample)
    for name, kind in (
        ("coco", types.COCODetectionDataset),
        ("cvat", types.CVATImageDataset),
        ("fiftyone", types.FiftyOneDataset),
        ("labels", types.FiftyOneImageDetectionDataset),
        ("voc", types.VOCDetectionDataset),
        ("darknet", types.YOLOv4Dataset),
    ):
        samples.export(str(output / name), dataset_type=kind, label_field="ground_truth")
    for split in ("train", "val"):
        view = samples.match_tags(split)
        view.export(
            str(output / "yolo"),
            dataset_type=types.YOLOv5Dataset,
            label_field="ground_truth",
            split=split,
            classes=source["names"],
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
    "fiftyone": fiftyone,
}

if __name__ == "__main__":
    folder = Path(sys.argv[3])
    folder.mkdir(parents=True)
    PROGRAMS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), folder)
