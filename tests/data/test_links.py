"""Images behind symbolic links: those that stay in the data set are read, the others are refused unless one asks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from raised import raises

from lookonce.data.images import read_image
from lookonce.data.links import links_that_leave
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import DataError
from lookonce.prediction.renderer import require_untouched
from lookonce.prediction.sources import find_images, find_media
from lookonce.workflows.anchors import anchors
from lookonce.workflows.check import check
from lookonce.workflows.convert_data import convert_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_synthetic(tmp_path / "data", train=2, val=1, options=SceneOptions(sides=(64, 96), smallest=16))


def image_leaves(data: Path) -> tuple[Path, Path]:
    """(link, target): an image of train is in another folder."""
    link = sorted((data / "train2017").iterdir())[0]
    target = data.parent / "store.jpg"
    link.rename(target)
    link.symlink_to(target)
    return link, target


def folder_leaves(data: Path) -> tuple[Path, Path]:
    """(link, target): the folder train2017 is elsewhere."""
    link, target = data / "train2017", data.parent / "store"
    link.rename(target)
    link.symlink_to(target)
    return link, target


@pytest.mark.parametrize("make", [image_leaves, folder_leaves])
def test_a_link_that_leads_out_is_refused_unless_links_are_followed(
    make: Callable[[Path], tuple[Path, Path]], data: Path, tmp_path: Path
) -> None:
    link, target = make(data)
    with raises(DataError, str(link), str(target), "--follow-links", check="link-outside-folder"):
        open_data(data).split("train")
    assert len(open_data(data).split("val")) == 1
    assert len(open_data(data, follow_links=True).split("train")) == 2
    with raises(DataError, str(link), check="link-outside-folder"):
        convert_data(data, tmp_path / "copy", to="voc")
    with raises(DataError, str(link), check="link-outside-folder"):
        anchors(data)
    with raises(DataError, str(link), check="link-outside-folder"):
        find_media(data)
    assert len(find_media(data, follow_links=True).known) == len(find_images(data)) == 3


def test_check_names_every_image_behind_a_link(data: Path, tmp_path: Path) -> None:
    folder_leaves(data)
    found = [finding.name for finding in check(data, advice=False).result.findings]
    assert found.count("link-outside-folder") == 2
    assert check(data, advice=False, follow_links=True).num_errors == 0
    fixed = check(data, advice=False, fix=tmp_path / "fixed").fixed
    assert fixed is not None
    assert "train" not in open_data(tmp_path / "fixed").splits


def test_links_inside_a_data_set_and_to_it_are_read(data: Path) -> None:
    names = sorted((data / "train2017").iterdir())
    (data / "store").mkdir()
    names[0].rename(data / "store" / "a.jpg")
    names[0].symlink_to("../store/a.jpg")
    (data.parent / "alias").symlink_to(data)
    assert len(open_data(data.parent / "alias").split("train")) == 2


def test_an_image_elsewhere_may_be_a_link_in_its_folder_only(data: Path) -> None:
    """A list names images by absolute paths."""
    elsewhere = data.parent / "elsewhere"
    shutil.copytree(data / "train2017", elsewhere)
    first, second = sorted(elsewhere.iterdir())
    inside, outside = elsewhere / "inside.jpg", elsewhere / "outside.jpg"
    inside.symlink_to(first.name)
    outside.symlink_to(data / "train2017" / first.name)
    assert [link for _, link in links_that_leave([second, inside, outside], data)] == [outside]


def test_a_link_that_leads_to_itself_is_no_image(data: Path, tmp_path: Path) -> None:
    looped = sorted((data / "train2017").iterdir())[0]
    looped.unlink()
    looped.symlink_to(looped.name)
    with raises(DataError, path=looped):
        read_image(open_data(data).split("train").image_paths[0])
    assert [finding.name for finding in check(data).result.findings if finding.file == str(looped)] == [
        "unreadable-image"
    ]
    (data / "itself").symlink_to("itself")
    assert len(find_media(data).known) == 2
    (tmp_path / "list.txt").write_text(f"{looped}\n")
    with raises(DataError, path=looped):
        find_images(tmp_path / "list.txt")[0].read()
    require_untouched(find_media(tmp_path / "list.txt"), tmp_path / "drawn")
