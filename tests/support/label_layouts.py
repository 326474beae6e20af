"""The layouts that labelling programs and public sets hand out, each built from the images of one data set."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lookonce.boxes import xyxy_to_cxcywh
from lookonce.data.dataset import Dataset
from lookonce.data.source import open_data

Build = Callable[[Path, "Source"], Path]


class Source:
    """The images and boxes that every layout holds."""

    def __init__(self, root: Path) -> None:
        source = open_data(root)
        self.root = root
        self.splits = {split: source.split(split) for split in ("train", "val")}
        self.names = list(source.class_names)

    def copy(self, folder: Path, *splits: str) -> None:
        """The images of the splits into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for split in splits or self.splits:
            for path in self.splits[split].image_paths:
                shutil.copy(path, folder / f"{split}_{path.name}")

    def items(self, *splits: str) -> Iterator[tuple[str, Dataset, int]]:
        """(name of the image, data set, index)."""
        for split in splits or self.splits:
            for index, path in enumerate(self.splits[split].image_paths):
                yield f"{split}_{path.name}", self.splits[split], index

    def txt(self, folder: Path, *splits: str) -> None:
        """YOLO label files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, dataset, index in self.items(*splits):
            rows = dataset.rows(index)
            boxes = xyxy_to_cxcywh(dataset.boxes_xyxy[rows]) / np.tile(dataset.image_sizes_wh[index], 2)
            lines = [
                " ".join(map(repr, [int(label), *map(float, box)]))
                for label, box in zip(dataset.labels[rows], boxes, strict=True)
            ]
            (folder / name).with_suffix(".txt").write_text("\n".join(lines))

    def coco(self, file: Path, *splits: str, path: Callable[[str], str] = str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for number, (name, dataset, index) in enumerate(self.items(*splits), start=1):
            width, height = dataset.image_sizes_wh[index].tolist()
            images.append({"id": number, "file_name": path(name), "width": width, "height": height})
            rows = dataset.rows(index)
            for box, label in zip(dataset.boxes_xyxy[rows].tolist(), dataset.labels[rows].tolist(), strict=True):
                bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                annotations.append({"id": len(annotations), "image_id": number, "category_id": label, "bbox": bbox})
        categories = [{"id": label, "name": name} for label, name in enumerate(self.names)]
        file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
        return file

    def xml(self, folder: Path, *splits: str) -> None:
        """VOC files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, dataset, index in self.items(*splits):
            (folder / name).with_suffix(".xml").write_text(
                f"<annotation><filename>{name}</filename>"
                + "".join(
                    f"<object><name>{self.names[label]}</name><difficult>0</difficult><bndbox>"
                    + "".join(
                        f"<{tag}>{x!r}</{tag}>" for tag, x in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
                    )
                    + "</bndbox></object>"
                    for box, label in self.boxes(dataset, index)
                )
                + "</annotation>"
            )

    def boxes(self, dataset: Dataset, index: int) -> list[tuple[list[float], int]]:
        rows = dataset.rows(index)
        return list(zip(dataset.boxes_xyxy[rows].tolist(), dataset.labels[rows].tolist(), strict=True))

    def csv(self, file: Path, columns: list[str], line: Callable[..., list[object]], *splits: str) -> Path:
        text = io.StringIO()
        writer = csv.writer(text)  # noqa: TID251 (of other programs)
        if columns:
            writer.writerow(columns)
        for name, dataset, index in self.items(*splits):
            for box, label in self.boxes(dataset, index):
                writer.writerow(line(name, dataset.image_sizes_wh[index].tolist(), self.names[label], *box))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.getvalue())
        return file


def coco_document(root: Path, source: Source) -> Path:
    return shutil.copytree(source.root, root, dirs_exist_ok=True)


def coco_beside(root: Path, source: Source) -> Path:
    for split in source.splits:
        source.copy(root, split)
        source.coco(root / f"my_{split}_boxes.json", split)
    return root


def coco_file_alone(root: Path, source: Source) -> Path:
    source.copy(root / "pictures")
    return source.coco(root / "anything.json")


def coco_cvat(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    source.coco(root / "annotations" / "instances_default.json")
    return root


def coco_cvat_file(root: Path, source: Source) -> Path:
    return coco_cvat(root, source) / "annotations" / "instances_default.json"


def coco_label_studio(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    return source.coco(root / "result.json", path=lambda name: f"images\\1\\{name}").parent


def coco_foreign_paths(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    return source.coco(root / "result.json", path=lambda name: f"file:///home/someone/my%20set/{name}").parent


def coco_roboflow(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder, split)
        source.coco(root / folder / "_annotations.coco.json", split)
    (root / "README.roboflow.txt").write_text("Provided by a Roboflow user")
    return root


def coco_fiftyone(root: Path, source: Source) -> Path:
    source.copy(root / "data")
    return source.coco(root / "labels.json").parent


def yolo_yaml(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder / "images", split)
        source.txt(root / folder / "labels", split)
    names = "".join(f"  {label}: {name}\n" for label, name in enumerate(source.names))
    (root / "data.yaml").write_text(
        f"path: /content/mine\ntrain: ../train/images\nval: /x/valid/images\nnames:\n{names}"
    )
    return root


def yolo_classes_txt(root: Path, source: Source) -> Path:
    for split in source.splits:
        source.copy(root / "images" / split, split)
        source.txt(root / "labels" / split, split)
    (root / "classes.txt").write_text("\n".join(source.names))
    return root


def yolo_label_studio(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    source.txt(root / "labels")
    (root / "classes.txt").write_text("\n".join(source.names))
    (root / "notes.json").write_text(json.dumps({"categories": [{"id": 0, "name": "x"}], "info": {}}))
    return root


def yolo_mixed(root: Path, source: Source) -> Path:
    source.copy(root)
    source.txt(root)
    (root / "classes.txt").write_text("\n".join(source.names))
    return root


def darknet(root: Path, source: Source, prefix: str = "data/") -> Path:
    for split in source.splits:
        source.copy(root / f"obj_{split}_data", split)
        source.txt(root / f"obj_{split}_data", split)
        lines = [f"{prefix}obj_{split}_data/{name}\n" for name, _, _ in source.items(split)]
        (root / f"{split}.txt").write_text("".join(lines))
    (root / "obj.names").write_text("\n".join(source.names))
    (root / "obj.data").write_text(
        f"classes = {len(source.names)}\ntrain = {prefix}train.txt\nvalid = {prefix}val.txt\n"
        f"names = {prefix}obj.names\nbackup = backup/\n"
    )
    return root


def darknet_file(root: Path, source: Source) -> Path:
    return darknet(root / "data", source) / "obj.data"


def darknet_without_description(root: Path, source: Source) -> Path:
    (darknet(root, source, "") / "obj.data").unlink()
    return root


def darknet_roboflow(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder, split)
        source.txt(root / folder, split)
        (root / folder / "_darknet.labels").write_text("\n".join(source.names))
    return root


def voc_lists(root: Path, source: Source) -> Path:
    source.copy(root / "JPEGImages" / "cam")
    source.xml(root / "Annotations" / "cam")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for split in source.splits:
        stems = [f"cam/{Path(name).stem}\n" for name, _, _ in source.items(split)]
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(stems))
    return root


def voc_without_lists(root: Path, source: Source) -> Path:
    source.copy(root / "JPEGImages")
    source.xml(root / "Annotations")
    return root


def voc_images_annotations(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    source.xml(root / "annotations")
    return root


def voc_mixed(root: Path, source: Source) -> Path:
    source.copy(root)
    source.xml(root)
    return root


def voc_roboflow(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder, split)
        source.xml(root / folder, split)
    return root


def labelme(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    (root / "json").mkdir()
    for name, dataset, index in source.items():
        width, height = dataset.image_sizes_wh[index].tolist()
        shapes = [
            {"label": source.names[label], "points": [box[:2], box[2:]], "shape_type": "rectangle", "flags": {}}
            for box, label in source.boxes(dataset, index)
        ]
        content = {"version": "5.4", "flags": {}, "shapes": shapes, "imagePath": f"..\\images\\{name}"}
        content |= {"imageData": None, "imageHeight": height, "imageWidth": width}
        (root / "json" / name).with_suffix(".json").write_text(json.dumps(content))
    return root


def cvat(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    labels = "".join(f"<label><name>{name}</name></label>" for name in source.names)
    images = "".join(
        f'<image id="{index}" name="{name}" subset="{dataset.split}" width="{dataset.image_sizes_wh[index][0]}" '
        f'height="{dataset.image_sizes_wh[index][1]}">'
        + "".join(
            f'<box label="{source.names[label]}" xtl="{box[0]!r}" ytl="{box[1]!r}" xbr="{box[2]!r}" ybr="{box[3]!r}"/>'
            for box, label in source.boxes(dataset, index)
        )
        + "</image>"
        for name, dataset, index in source.items()
    )
    meta = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
    (root / "annotations.xml").write_text(f'<?xml version="1.0"?><annotations>{meta}{images}</annotations>')
    return root


def cvat_file(root: Path, source: Source) -> Path:
    return cvat(root, source) / "annotations.xml"


def label_studio(root: Path, source: Source) -> Path:
    """As its server exports JSON: images were uploaded, which puts eight digits before their names."""
    for split in source.splits:
        source.copy(root / split, split)
        tasks = []
        for name, dataset, index in source.items(split):
            width, height = dataset.image_sizes_wh[index].tolist()
            results = [
                {
                    "original_width": width,
                    "original_height": height,
                    "value": {
                        "x": box[0] * 100 / width,
                        "y": box[1] * 100 / height,
                        "width": (box[2] - box[0]) * 100 / width,
                        "height": (box[3] - box[1]) * 100 / height,
                        "rotation": 0,
                        "rectanglelabels": [source.names[label]],
                    },
                    "from_name": "label",
                    "to_name": "image",
                    "type": "rectanglelabels",
                }
                for box, label in source.boxes(dataset, index)
            ]
            annotations = [{"id": index, "result": results, "was_cancelled": False}]
            tasks.append(
                {"id": index, "annotations": annotations, "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"}}
            )
        (root / f"project-1-{split}.json").write_text(json.dumps(tasks))
    return root


def datumaro(root: Path, source: Source) -> Path:
    (root / "annotations").mkdir(parents=True)
    labels = [{"name": name, "parent": "", "attributes": []} for name in source.names]
    for split, dataset in source.splits.items():
        source.copy(root / "images" / split, split)
        items = [
            {
                "id": Path(name).stem,
                "image": {"path": name, "size": dataset.image_sizes_wh[index].tolist()[::-1]},
                "annotations": [
                    {"type": "bbox", "label_id": label, "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
                    for box, label in source.boxes(dataset, index)
                ],
            }
            for name, _, index in source.items(split)
        ]
        content = {"dm_format_version": "1.0", "categories": {"label": {"labels": labels}}, "items": items}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return root


def fiftyone_labels(root: Path, source: Source) -> Path:
    """An image detection data set for each split: numbers of classes, names without suffix."""
    for split, dataset in source.splits.items():
        source.copy(root / split / "data", split)
        labels = {
            Path(name).stem: [
                {"label": label, "bounding_box": fractions(box, dataset.image_sizes_wh[index])}
                for box, label in source.boxes(dataset, index)
            ]
            for name, _, index in source.items(split)
        }
        content = {"classes": list(source.names), "labels": labels}
        (root / split / "labels.json").write_text(json.dumps(content))
    return root


def fiftyone_samples(root: Path, source: Source) -> Path:
    """A whole data set for each split, as FiftyOne writes it."""
    for split, dataset in source.splits.items():
        source.copy(root / split / "data", split)
        samples = [
            {
                "_id": {"$oid": str(index)},
                "filepath": f"data/{name}",
                "ground_truth": {
                    "_cls": "Detections",
                    "detections": [
                        {
                            "_cls": "Detection",
                            "label": source.names[label],
                            "bounding_box": fractions(box, dataset.image_sizes_wh[index]),
                        }
                        for box, label in source.boxes(dataset, index)
                    ],
                },
                "predictions": {"_cls": "Detections", "detections": []},
            }
            for name, _, index in source.items(split)
        ]
        (root / split / "samples.json").write_text(json.dumps({"samples": samples}))
        (root / split / "metadata.json").write_text(json.dumps({"name": split, "media_type": "image"}))
    return root


def fractions(box: list[float], size_wh: np.ndarray) -> list[float]:
    width, height = size_wh.tolist()
    return [box[0] / width, box[1] / height, (box[2] - box[0]) / width, (box[3] - box[1]) / height]


def yolo_names_yaml(root: Path, source: Source) -> Path:
    """As supervision writes it: the data.yaml has the names only."""
    for split in source.splits:
        source.copy(root / split / "images", split)
        source.txt(root / split / "labels", split)
    (root / "data.yaml").write_text(json.dumps({"nc": len(source.names), "names": source.names}))
    return root


TENSORFLOW = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]


def csv_tensorflow(root: Path, source: Source) -> Path:
    for split in source.splits:
        source.copy(root / "images" / split, split)
        source.csv(
            root / "data" / f"{split}_labels.csv",
            TENSORFLOW,
            lambda name, size, label, *box: [name, *size, label, *box],
            split,
        )
    return root


def csv_retinanet_file(root: Path, source: Source) -> Path:
    source.copy(root)
    return source.csv(root / "boxes.csv", [], lambda name, _, label, *box: [f"/mnt/x/{name}", *box, label])


def csv_open_images(root: Path, source: Source) -> Path:
    columns = ["ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsGroupOf"]

    def line(name: str, size: list[int], label: str, *box: float) -> list[object]:
        left, top, right, bottom = (value / size[side % 2] for side, value in enumerate(box))
        return [Path(name).stem, "xclick", f"/m/{label}", 1, left, right, top, bottom, 0]

    for split, folder in (("train", "train"), ("val", "validation")):
        source.copy(root / folder, split)
        source.csv(root / f"{folder}-annotations-bbox.csv", columns, line, split)
    (root / "class-descriptions-boxable.csv").write_text("".join(f"/m/{name},{name}\n" for name in source.names))
    return root


def csv_kaggle(root: Path, source: Source) -> Path:
    columns = ["image_id", "width", "height", "bbox", "label"]

    def line(name: str, size: list[int], label: str, *box: float) -> list[object]:
        return [Path(name).stem, *size, str([box[0], box[1], box[2] - box[0], box[3] - box[1]]), label]

    source.copy(root / "train")
    return source.csv(root / "train.csv", columns, line).parent


def via_rect(box: list[float]) -> dict[str, object]:
    return {"name": "rect", "x": box[0], "y": box[1], "width": box[2] - box[0], "height": box[3] - box[1]}


def via_json(root: Path, source: Source) -> Path:
    source.copy(root)
    content = {}
    for name, dataset, index in source.items():
        regions = [
            {"shape_attributes": via_rect(box), "region_attributes": {"class": source.names[label]}}
            for box, label in source.boxes(dataset, index)
        ]
        content[f"{name}99"] = {"filename": name, "size": 99, "regions": regions, "file_attributes": {}}
    (root / "via_region_data.json").write_text(json.dumps(content))
    return root


def via_project(root: Path, source: Source) -> Path:
    file = via_json(root, source) / "via_region_data.json"
    file.write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": json.loads(file.read_text())}))
    return file


def via_csv(root: Path, source: Source) -> Path:
    columns = ["#filename", "file_size", "file_attributes", "region_count", "region_id"]

    def line(name: str, _: object, label: str, *box: float) -> list[object]:
        return [name, 99, "{}", 1, 0, json.dumps(via_rect(list(box))), json.dumps({"kind": label})]

    source.copy(root)
    return source.csv(root / "via.csv", [*columns, "region_shape_attributes", "region_attributes"], line).parent


def createml(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder, split)
        content = [
            {
                "image": name,
                "annotations": [
                    {
                        "label": source.names[label],
                        "coordinates": dict(
                            zip(("x", "y", "width", "height"), xyxy_to_cxcywh(np.array([box]))[0].tolist(), strict=True)
                        ),
                    }
                    for box, label in source.boxes(dataset, index)
                ],
            }
            for name, dataset, index in source.items(split)
        ]
        (root / folder / "_annotations.createml.json").write_text(json.dumps(content))
    return root


LAYOUTS: tuple[Build, ...] = (
    *(coco_document, coco_beside, coco_file_alone, coco_cvat, coco_cvat_file, coco_label_studio, coco_foreign_paths),
    *(coco_roboflow, coco_fiftyone, yolo_yaml, yolo_classes_txt, yolo_label_studio, yolo_mixed, darknet, darknet_file),
    *(darknet_without_description, darknet_roboflow, voc_lists, voc_without_lists, voc_images_annotations, voc_mixed),
    *(voc_roboflow, labelme, label_studio, cvat, cvat_file, csv_tensorflow, csv_retinanet_file, csv_open_images),
    *(
        datumaro,
        fiftyone_labels,
        fiftyone_samples,
        yolo_names_yaml,
        csv_kaggle,
        via_json,
        via_project,
        via_csv,
        createml,
    ),
)
