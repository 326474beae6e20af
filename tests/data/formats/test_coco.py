import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookonce.data.annotations import assemble
from lookonce.data.dataset import Dataset
from lookonce.data.findings import RaiseOnError, Report
from lookonce.data.formats.coco import load_coco_json, read_coco
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
    first = load_coco_json(tmp_path / "a.json")["annotations"][0]
    assert first.pop("segmentation", annotation["segmentation"]) == annotation["segmentation"]
    assert first == {"note": tricky, "bbox": [1, 2, 3, 4], "id": 1}


def test_sizes_come_from_the_pictures_where_the_file_has_none(
    tmp_path: Path, save_coco: Save, save_picture: Save
) -> None:
    save_picture(tmp_path / "1.png", 30, 20)
    path = save_coco(tmp_path / "a.json", changes={"images": [{"id": 1, "file_name": "1.png"}]})
    np.testing.assert_array_equal(read(path).image_sizes_wh, [(30, 20)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{'images': []}", r"a\.json line 1 column 2: is not JSON"),
        ('{"annotations": [{"segmentation": [[1,2]], "id" 1}]}', r"a\.json line 1 column 49: is not JSON"),
        ("[]", "is a JSON list"),
        ('{"images": [], "info": 1}', "has no 'annotations'.*found 'images', 'info'"),
        ('{"images": 3, "annotations": [], "categories": []}', "'images' is 3; expected a list"),
        ('{"images": [], "annotations": [], "categories": []}', "'categories' is empty"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": "1", "name": "a"}]}',
            r"categories\[0\]\.id is \"1\"",
        ),
        ('{"images": [], "annotations": [], "categories": [7]}', r"categories\[0\] is 7; expected an object"),
        ("\udcff", "is no UTF-8"),
    ],
)
def test_what_is_no_coco_file_is_told_apart(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=said):
        read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        ("images", {"id": "7"}, r'images\[0\]\.id is "7"; expected a whole number'),
        ("images", {"id": None}, r"images\[0\]\.id is null; expected a whole number"),
        ("images", {"file_name": ""}, r'images\[0\]\.file_name is ""'),
        ("images", {"width": 0}, r"images\[0\]\.width is 0; expected a whole number of pixels over 0"),
        ("images", {"file_name": "../1.png"}, r"picture 1: file_name '../1.png' leaves the picture folder"),
        ("images", {"file_name": "/etc/1.png"}, "leaves the picture folder"),
        ("images", {"file_name": "C:\\1.png"}, "leaves the picture folder"),
        ("annotations", {"bbox": [1, 2, 3]}, r"annotations\[0\]\.bbox is \[1, 2, 3\]; expected \[left, top"),
        ("annotations", {"bbox": [1, 2, 3, "4"]}, r"annotations\[0\]\.bbox is"),
        ("annotations", {"bbox": "1 2 3 4"}, r"annotations\[0\]\.bbox is"),
        ("annotations", {"iscrowd": 2}, r"annotations\[0\]\.iscrowd is 2; expected 0 or 1"),
        ("annotations", {"area": "big"}, r"annotations\[0\]\.area is"),
        ("annotations", {"category_id": 80}, "annotation 1: category_id 80 is unknown; 'categories' has 1"),
        ("annotations", {"category_id": 1.5}, r"annotations\[0\]\.category_id is 1.5"),
        ("annotations", {"bbox": [1, 2, float("nan"), 4]}, r"annotation 1 of 1\.png: box .* is not finite"),
    ],
)
def test_a_wrong_value_is_named_and_a_collector_goes_on(
    tmp_path: Path, save_coco: Save, where: str, change: dict[str, object], said: str
) -> None:
    path = save_coco(tmp_path / "a.json", [(1, 1, (1, 1, 2, 2)), (2, 1, (1, 1, 2, 2))], images=[{}, {}])
    content = json.loads(path.read_text())
    content[where][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        read(path)
    findings = []
    dataset = read(path, findings.append)
    assert "error" in {finding.severity for finding in findings}
    assert len(dataset.labels) == 1


def test_missing_keys_are_named(tmp_path: Path, save_coco: Save) -> None:
    path = save_coco(tmp_path / "a.json", changes={"annotations": [{"image_id": 1, "category_id": 1}]})
    with pytest.raises(DataError, match=r"annotations\[0\] has no 'bbox'; expected \[left, top"):
        read(path)


def test_a_picture_id_that_comes_twice_is_an_error(tmp_path: Path, save_coco: Save) -> None:
    path = save_coco(tmp_path / "a.json", images=[{"id": 5}, {"id": 5}])
    with pytest.raises(DataError, match=r"id 5 is that of 1\.png and of 2\.png"):
        read(path)


@pytest.mark.parametrize("categories", [[(1, "a"), (1, "b")], [(1, "a"), (2, "a")]])
def test_a_category_that_comes_twice_is_an_error(
    tmp_path: Path, save_coco: Save, categories: list[tuple[int, str]]
) -> None:
    with pytest.raises(DataError, match="two categories have the"):
        read(save_coco(tmp_path / "a.json", categories=categories))


def test_boxes_of_pictures_that_are_not_listed_are_left_out_with_a_warning(tmp_path: Path, save_coco: Save) -> None:
    findings = []
    dataset = read(save_coco(tmp_path / "a.json", [(9, 1, (1, 1, 2, 2))]), findings.append)
    assert len(dataset.labels) == 0
    assert [(finding.name, finding.severity) for finding in findings] == [("annotation-without-picture", "warning")]
