import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as masks
from raised import raises

from lookonce.data.annotations import assemble
from lookonce.data.dataset import Dataset
from lookonce.data.findings import RaiseOnError, Report
from lookonce.data.formats.coco import read_coco
from lookonce.data.formats.coco_json import load_coco_json
from lookonce.errors import DataError

Save = Callable[..., Path]


def read(path: Path, report: Report | None = None) -> Dataset:
    return assemble(read_coco(path, path.parent, "train", report or RaiseOnError()), report or RaiseOnError())


def test_categories_with_holes_are_numbered_in_the_order_of_their_ids(tmp_path: Path, save_coco: Save) -> None:
    boxes = [(1, 90, (0, 0, 5, 5)), (1, 3, (1, 1, 5, 5))]
    dataset = read(save_coco(tmp_path / "a.json", boxes, categories=[(90, "toothbrush"), (3, "car"), (1, "person")]))
    assert dataset.class_names == ("person", "car", "toothbrush")
    assert dataset.category_ids == (1, 3, 90)
    np.testing.assert_array_equal(dataset.labels, [2, 1])


def test_boxes_crowds_areas_and_order(tmp_path: Path, save_coco: Save) -> None:
    boxes = [(2, 1, (10, 20, 30, 5)), (1, 1, (0.5, 0.25, 2, 4)), (2, 1, (1, 1, 1, 1))]
    path = save_coco(tmp_path / "a.json", boxes, images=[{}, {"file_name": "deep/er.png"}, {}])
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"iscrowd": 1, "segmentation": {"counts": [5, 5], "size": [50, 100]}, "area": 77}
    del content["annotations"][1]["area"], content["annotations"][1]["iscrowd"]
    content["annotations"][2]["segmentation"] = [[1, 1, 2, 1, 2, 2], [1, 1, 3.5e0, 3, 1, 2]]
    path.write_text(json.dumps(content))
    dataset = read(path)
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(0.5, 0.25, 2.5, 4.25), (10, 20, 40, 25), (1, 1, 2, 2)])
    np.testing.assert_array_equal(dataset.box_offsets, [0, 1, 3, 3])
    np.testing.assert_array_equal(dataset.crowd, [False, True, False])
    np.testing.assert_array_equal(dataset.areas, [8, 77, 9])
    assert dataset.image_paths[1] == tmp_path / "deep" / "er.png"


@pytest.mark.parametrize("indent", [None, 1])
def test_polygons_are_cut_out_and_nothing_else(tmp_path: Path, indent: int | None) -> None:
    """A text that looks like a polygon is inside quotes, and stays."""
    tricky = 'x"segmentation": [[1, 2]], "'
    annotation = {"segmentation": [[1, 2.5, 3], [4]], "note": tricky, "bbox": [1, 2, 3, 4], "id": 1}
    last = {"id": 2, "segmentation": [[1, 2]]}
    content = {"images": [], "annotations": [annotation, last], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(content, indent=indent))
    ((first, _),) = load_coco_json(tmp_path / "a.json", list)[1]
    assert first.pop("segmentation", annotation["segmentation"]) == annotation["segmentation"]
    assert first == {"note": tricky, "bbox": [1, 2, 3, 4], "id": 1}


def test_sizes_come_from_the_images_where_the_file_has_none(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    save_image(tmp_path / "1.png", 30, 20)
    path = save_coco(tmp_path / "a.json", changes={"images": [{"id": 1, "file_name": "1.png"}]})
    np.testing.assert_array_equal(read(path).image_sizes_wh, [(30, 20)])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{'images': []}", ["column 2:", "JSON"]),
        ('{"annotations": [{"segmentation": [[1,2]], "id" 1}]}', ["column 49:", "JSON"]),
        ("[]", ["list"]),
        ('{"images": [], "info": 1}', ["no 'annotations'", "'images', 'info'"]),
        ('{"images": 3, "annotations": [], "categories": []}', ["'images' is 3"]),
        ('{"images": [], "annotations": [], "categories": []}', ["'categories' is empty"]),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1.5, "name": "a"}]}',
            ["categories[0].id is 1.5"],
        ),
        ('{"images": [], "annotations": [], "categories": [7]}', ["categories[0] is 7"]),
        ("\udcff", ["UTF-8"]),
    ],
)
def test_what_is_no_coco_file_is_told_apart(tmp_path: Path, text: str, told: list[str]) -> None:
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogateescape"))
    with raises(DataError, *told, path="a.json"):
        read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        ("images", {"id": 7.5}, "images[0].id is 7.5"),
        ("images", {"id": None}, "images[0].id is null"),
        ("images", {"file_name": ""}, 'images[0].file_name is ""'),
        ("images", {"file_name": "../1.png"}, "file_name '../1.png'"),
        ("images", {"file_name": "/etc/1.png"}, "file_name '/etc/1.png'"),
        ("images", {"file_name": "C:\\1.png"}, r"file_name 'C:\\1.png'"),
        ("annotations", {"bbox": [1, 2, 3]}, "annotations[0].bbox is [1, 2, 3]"),
        ("annotations", {"bbox": [1, 2, 3, "x"]}, 'annotations[0].bbox is [1, 2, 3, "x"]'),
        ("annotations", {"bbox": "1 2 3 4"}, 'annotations[0].bbox is "1 2 3 4"'),
        ("annotations", {"iscrowd": 2}, "annotations[0].iscrowd is 2"),
        ("annotations", {"area": "big"}, 'annotations[0].area is "big"'),
        ("annotations", {"category_id": 80}, "category_id 80"),
        ("annotations", {"category_id": 1.5}, "annotations[0].category_id is 1.5"),
        ("annotations", {"bbox": [1, 2, float("nan"), 4]}, "annotation 1 of 1.png: box (1, 2, nan, 6)"),
    ],
)
def test_a_wrong_value_is_named_and_a_collector_goes_on(
    tmp_path: Path, save_coco: Save, where: str, change: dict[str, object], said: str
) -> None:
    path = save_coco(tmp_path / "a.json", [(1, 1, (1, 1, 2, 2)), (2, 1, (1, 1, 2, 2))], images=[{}, {}])
    content = json.loads(path.read_text())
    content[where][0] |= change
    path.write_text(json.dumps(content))
    with raises(DataError, said):
        read(path)
    findings = []
    dataset = read(path, findings.append)
    assert "error" in {finding.severity for finding in findings}
    assert len(dataset.labels) == 1


def test_missing_keys_are_named(tmp_path: Path, save_coco: Save) -> None:
    path = save_coco(tmp_path / "a.json", changes={"annotations": [{"image_id": 1, "category_id": 1}]})
    with raises(DataError, "annotations[0]", "'bbox'", path="a.json"):
        read(path)


def test_an_image_id_that_comes_twice_is_an_error(tmp_path: Path, save_coco: Save) -> None:
    path = save_coco(tmp_path / "a.json", images=[{"id": 5}, {"id": 5}])
    with raises(DataError, "5", "1.png", "2.png", path="a.json"):
        read(path)


@pytest.mark.parametrize(("categories", "twice"), [([(1, "a"), (1, "b")], 1), ([(1, "a"), (2, "a")], "a")])
def test_a_category_that_comes_twice_is_an_error(
    tmp_path: Path, save_coco: Save, categories: list[tuple[int, str]], twice: object
) -> None:
    with raises(DataError, path="a.json", value=twice):
        read(save_coco(tmp_path / "a.json", categories=categories))


def test_boxes_of_images_that_are_not_listed_are_left_out_with_a_warning(tmp_path: Path, save_coco: Save) -> None:
    findings = []
    dataset = read(save_coco(tmp_path / "a.json", [(9, 1, (1, 1, 2, 2))]), findings.append)
    assert len(dataset.labels) == 0
    assert [(finding.name, finding.severity) for finding in findings] == [("annotation-without-image", "warning")]


@pytest.mark.parametrize("ids", [(2**63, 2**63 + 1), (10**400, 1), ("a", "b"), ("7", "9")])
def test_ids_of_any_length_and_text_are_only_labels(
    tmp_path: Path, save_coco: Save, ids: tuple[int | str, int | str]
) -> None:
    path = save_coco(tmp_path / "a.json", [(1, 1, (1, 2, 3, 4)), (2, 1, (5, 6, 7, 8))], images=[{}, {}])
    content = json.loads(path.read_text())
    for row, own_id in enumerate(ids):
        content["images"][row]["id"] = content["annotations"][row]["image_id"] = own_id
    content["annotations"].append(content["annotations"][1] | {"image_id": 10**20, "id": 3})
    content["annotations"].append(content["annotations"][1] | {"category_id": 10**20, "id": 4})
    path.write_text(json.dumps(content))
    findings = []
    dataset = read(path, findings.append)
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(1, 2, 4, 6), (5, 6, 12, 14)])
    np.testing.assert_array_equal(dataset.image_ids, [7, 9] if ids == ("7", "9") else [1, 2])
    assert list(dataset.own_ids) == ([] if ids == ("7", "9") else list(ids))
    assert {finding.name for finding in findings} == {"annotation-without-image", "unknown-class"}


@pytest.mark.parametrize("ids", [(2**70, 5), ("dog", "cat")])
def test_category_ids_that_no_results_file_can_hold_are_numbered(
    tmp_path: Path, save_coco: Save, ids: tuple[object, object]
) -> None:
    path = save_coco(tmp_path / "a.json", [(1, ids[0], (1, 2, 3, 4))], categories=[(ids[0], "dog"), (ids[1], "cat")])
    dataset = read(path)
    assert dataset.class_names[dataset.labels[0]] == "dog"
    assert dataset.category_ids == (1, 2)


@pytest.mark.parametrize(
    ("change", "crowd", "area"),
    [
        ({"iscrowd": None}, False, 9),
        ({"iscrowd": "0"}, False, 9),
        ({"iscrowd": "1"}, True, 9),
        ({"iscrowd": True}, True, 9),
        ({"image_id": "1", "category_id": "1", "bbox": ["1", "2.0", "3", "4"], "area": "12.5"}, False, 12.5),
        ({"image_id": 1.0, "category_id": 1.0, "area": None}, False, 12),
    ],
)
def test_numbers_as_text_and_empty_flags(
    tmp_path: Path, save_coco: Save, change: dict[str, object], crowd: bool, area: float
) -> None:
    path = save_coco(tmp_path / "a.json", [(1, 1, (1, 2, 3, 4))])
    content = json.loads(path.read_text())
    content["annotations"][0] |= change
    path.write_text(json.dumps(content))
    dataset = read(path)
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(1, 2, 4, 6)])
    assert (bool(dataset.crowd[0]), dataset.areas[0]) == (crowd, area)


@pytest.mark.parametrize("width", [-1, None, 0, "", 10**12, 30.5])
def test_a_width_that_is_none_is_read_from_the_image(
    tmp_path: Path, save_coco: Save, save_image: Save, width: object
) -> None:
    save_image(tmp_path / "1.png", 30, 20)
    path = save_coco(tmp_path / "a.json", images=[{"width": width, "height": 99}])
    np.testing.assert_array_equal(read(path).image_sizes_wh, [(30, 20)])


@pytest.mark.parametrize("width", [30.0, "30", "30.0"])
def test_a_whole_width_in_another_notation_is_that_width(tmp_path: Path, save_coco: Save, width: object) -> None:
    path = save_coco(tmp_path / "a.json", images=[{"width": width, "height": 20}])
    np.testing.assert_array_equal(read(path).image_sizes_wh, [(30, 20)])


@pytest.mark.parametrize("missing", [{}, {"bbox": None}, {"bbox": []}])
def test_a_missing_box_is_that_of_its_polygon_or_mask(
    tmp_path: Path, save_coco: Save, missing: dict[str, object]
) -> None:
    """Masks of random pixels: their boxes are those of pycocotools."""
    rng = np.random.default_rng(0)
    pixels = [(rng.random((50, 100)) < share).astype(np.uint8) for share in (0.001, 0.01, 0.5)]
    pixels[0][7, 9] = 1
    encoded = [masks.encode(np.asfortranarray(image)) for image in pixels]
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], pixels[0].ravel(order="F"), [2]]))))
    plain = {"size": [50, 100], "counts": ([0] if pixels[0][0, 0] else []) + runs.tolist()}
    segmentations = [[[1, 2, 8, 2, 4, 9.5], [20, 1, 21, 1, 21, 3]], plain]
    segmentations += [{"size": mask["size"], "counts": mask["counts"].decode()} for mask in encoded]
    annotations = [{"image_id": 1, "category_id": 1, "segmentation": one, **missing} for one in segmentations]
    path = save_coco(tmp_path / "a.json", changes={"annotations": annotations})
    expected = [[1, 1, 20, 8.5], masks.toBbox(encoded[0]), *masks.toBbox(encoded)]
    boxes = read(path).boxes_xyxy
    np.testing.assert_array_equal(np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]), expected)


def test_a_box_without_area_is_kept_for_the_metric_only(tmp_path: Path, save_coco: Save) -> None:
    boxes = [(2, 1, (5, 5, 0, 9)), (1, 1, (1, 2, 3, 4)), (2, 1, (5, 6, 7, 8)), (1, 1, (500, 5, 5, 5))]
    dataset = read(save_coco(tmp_path / "a.json", boxes, images=[{}, {}]), lambda finding: None)
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(1, 2, 4, 6), (5, 6, 12, 14)])
    scored = dataset.with_never_found()
    np.testing.assert_array_equal(scored.boxes_xyxy, [(1, 2, 4, 6), (500, 5, 505, 10), (5, 6, 12, 14), (5, 5, 5, 14)])
    np.testing.assert_array_equal(scored.box_offsets, [0, 2, 4])
    np.testing.assert_array_equal(dataset.take([1]).with_never_found().boxes_xyxy, [(5, 6, 12, 14), (5, 5, 5, 14)])


ROOT = {"id": 0, "name": "red", "supercategory": "none"}


@pytest.mark.parametrize(
    ("categories", "classes"),
    [
        ([ROOT, {"id": 1, "name": "red", "supercategory": "red"}], ("red",)),
        ([ROOT, {"id": 1, "name": "cell", "supercategory": "red"}], ("cell",)),
        ([ROOT | {"id": 1}, {"id": 2, "name": "b", "supercategory": "red"}], ("red", "b")),
        ([ROOT, {"id": 1, "name": "a", "supercategory": "red"}, {"id": 2, "name": "b"}], ("red", "a", "b")),
        ([ROOT | {"id": 1}], ("red",)),
    ],
)  # fmt: skip
def test_roboflows_root_is_no_class(
    tmp_path: Path, save_coco: Save, categories: list[dict[str, object]], classes: tuple[str, ...]
) -> None:
    """A root that has boxes, or that others do not name, is a class."""
    path = save_coco(tmp_path / "a.json", [(1, 1, (1, 2, 3, 4))], changes={"categories": categories})
    assert read(path).class_names == classes


def test_masks_and_class_lists_are_read_in_linear_time(tmp_path: Path) -> None:
    """Was quadratic: 8,000 masks took 8.8 s, and each name was counted in the whole list."""
    many = 8_000
    box = {"segmentation": {"counts": [5, 5], "size": [50, 100]}, "image_id": 1, "bbox": [1, 2, 3, 4]}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 50}],
        "annotations": [box | {"category_id": row} for row in range(many)],
        "categories": [{"id": row, "name": f"class {row}"} for row in range(many)],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    started = time.process_time()
    assert len(read(tmp_path / "a.json").labels) == many
    assert time.process_time() - started < 2


@pytest.mark.parametrize("order", [("images", "annotations"), ("annotations", "images")])
@pytest.mark.parametrize("extra", [{}, {"attributes": [{"a": 1}, {"b": "}, {"}]}])
def test_parts_of_a_large_file_are_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, str], extra: dict[str, object]
) -> None:
    """Small parts and blocks; objects inside an annotation; a wrong annotation in a later part."""
    monkeypatch.setattr("lookonce.data.formats.coco_json._PART_CHARACTERS", 300)
    monkeypatch.setattr("lookonce.data.formats.coco_json._PART_ITEMS", 3)
    monkeypatch.setattr("lookonce.data.formats.coco_json._BLOCK_BYTES", 50)
    box = {"segmentation": [[1, 2, 3], [4, 5]], "image_id": 1, "category_id": 1, "iscrowd": 0, **extra}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 50}],
        "annotations": [box | {"id": row, "bbox": [row, 2, 3, 4]} for row in range(20)],
    }
    content["annotations"][17]["bbox"] = "?"
    text = {key: content[key] for key in order} | {"categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "a.json").write_text(json.dumps(text))
    findings = []
    dataset = read(tmp_path / "a.json", findings.append)
    np.testing.assert_array_equal(dataset.boxes_xyxy[:, 0], [*range(17), 18, 19])
    assert [finding.name for finding in findings] == ["malformed-entry"]
    assert "annotations[17]" in findings[0].message


@pytest.mark.slow
def test_train2017s_size_is_read_in_seconds(tmp_path: Path) -> None:
    """118,000 images with 860,000 boxes, each with a polygon: in less time than the JSON parser alone needs for them,
    measured in the same run, as the machine may be busy (ratio 0.8); and in 600 MB (390 MB)."""
    rng = np.random.default_rng(0)
    polygon = [rng.uniform(0, 400, 40).round(2).tolist()]
    xywh = rng.uniform(1, 200, (860_000, 4)).round(2).tolist()
    content = {
        "images": [{"id": 7 * n, "file_name": f"{n:012d}.jpg", "width": 640, "height": 480} for n in range(118_000)],
        "annotations": [
            {"segmentation": polygon, "area": 9.5, "iscrowd": 0, "image_id": 7 * (n % 118_000), "bbox": box,
             "category_id": n % 80, "id": n}
            for n, box in enumerate(xywh)
        ],
        "categories": [{"id": n, "name": f"class {n}"} for n in range(80)],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    # In a process of its own. VmHWM is the peak of reading; ru_maxrss begins with the peak of the parent.
    script = """if True:
        import gc, json, re, time
        from pathlib import Path
        from lookonce.data.annotations import assemble
        from lookonce.data.findings import ignore
        from lookonce.data.formats.coco import read_coco
        started = time.process_time()
        path = Path("a.json")
        num_boxes = len(assemble(read_coco(path, path.parent, "train", ignore), ignore).labels)
        seconds = time.process_time() - started
        megabytes = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
        gc.disable()
        started = time.process_time()
        json.loads(path.read_bytes())
        print(num_boxes, seconds / (time.process_time() - started), megabytes, seconds)
    """
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True).stdout
    print("seconds of the processor:", printed)
    num_boxes, ratio, megabytes, _ = map(float, printed.split())
    assert num_boxes == 860_000
    assert ratio < 1
    assert megabytes < 600


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000])
def test_numbers_and_brackets_without_end_are_invalid_json(tmp_path: Path, value: str) -> None:
    (tmp_path / "train.json").write_text(f'{{"images": {value}')
    with raises(DataError, path="train.json"):
        load_coco_json(tmp_path / "train.json", list)
