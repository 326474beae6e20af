"""Published weights by name: found, placed by hand, refused, converted once. The real one has mark `network`."""

from pathlib import Path

import pytest
from raised import raises

import lookonce
from lookonce.errors import MissingExtra, SettingsError, WeightsError
from lookonce.weights import pull as module
from lookonce.weights.checkpoint import load_checkpoint
from lookonce.weights.darknet import RELEASED_COCO_SHA256
from lookonce.weights.load import load_weights, open_checkpoint
from lookonce.weights.published import PUBLISHED
from lookonce.weights.pull import as_typed, default_weights, find_weights, pulled


def test_a_name_is_pulled_once_and_then_needs_no_network(published_coco: bytes, monkeypatch, tmp_path: Path):
    assert len(published_coco) == 35_434_956
    assert pulled("coco") is None
    assert find_weights(Path("coco")) == Path("weights/coco")
    (tmp_path / "mirror.weights").unlink()
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    assert default_weights() == Path("coco")
    checkpoint = open_checkpoint(Path("coco"))
    assert checkpoint.record.class_names[:2] == ("person", "bicycle")
    assert checkpoint.record.names_known
    assert checkpoint.record.settings["published"]["licence"] == "public domain"
    assert [path.name for path in Path("weights").glob("[!.]*")] == ["coco"]
    assert load_weights(Path("coco"))[1] == checkpoint.record


def test_the_folder_of_an_environment_variable_is_used(published_coco: bytes, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("LOOKONCE_WEIGHTS", str(tmp_path / "shared"))
    assert find_weights("coco") == tmp_path / "shared" / "coco"
    assert not Path("weights").exists()


def test_offline_the_file_and_its_place_are_named_and_nothing_is_made(published_coco: bytes, monkeypatch):
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    sha256 = PUBLISHED["coco"].content.sha256
    with raises(WeightsError, "LOOKONCE_OFFLINE", sha256, "weights/yolov3-tiny.weights", "35,434,956", value="coco"):
        find_weights("coco")
    assert not Path("weights").exists()
    with raises(SettingsError, "lookonce pull coco", setting="weights"):
        default_weights()


def test_without_pytorch_nothing_is_downloaded(published_coco: bytes, monkeypatch):
    monkeypatch.setattr("lookonce.weights.pull.find_spec", lambda name: None)
    with raises(MissingExtra, "lookonce[train]", "coco"):
        find_weights("coco")
    assert not Path("weights").exists()
    with raises(SettingsError, "--weights", "lookonce[train]", setting="weights"):
        default_weights()


def test_a_file_that_the_user_has_put_there_is_verified_and_stays(published_coco: bytes, monkeypatch):
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    Path("weights").mkdir()
    placed = Path("weights/yolov3-tiny.weights")
    placed.write_bytes(published_coco[:-4] + b"none")
    with raises(WeightsError, PUBLISHED["coco"].content.sha256, path=placed):
        find_weights("coco")
    assert pulled("coco") is None
    placed.write_bytes(published_coco)
    assert find_weights("coco") == Path("weights/coco")
    assert placed.read_bytes() == published_coco


def test_without_a_source_the_way_by_hand_is_told(published_coco: bytes, tmp_path: Path):
    (tmp_path / "mirror.weights").write_bytes(b"moved")
    with raises(WeightsError, "mirror.weights", PUBLISHED["coco"].content.sha256, value="coco"):
        find_weights("coco")
    assert list(Path("weights").glob("[!.]*")) == []


def test_a_plain_name_is_the_published_weights_and_a_path_is_a_path(published_coco: bytes, caplog):
    Path("coco").mkdir()
    module._note_namesake.cache_clear()
    with caplog.at_level("INFO", "lookonce"):
        assert find_weights(Path("coco")) == Path("weights/coco")
    assert any("./coco" in line for line in caplog.messages)
    for typed in ("./coco", "coco/", "./coco/"):
        assert as_typed(typed) == str(Path("coco").absolute())
        assert find_weights(as_typed(typed)) == Path("coco").absolute()
    for other in ("coco", "./other", "runs/coco", "", "/x/coco"):
        assert as_typed(other) == other
    with raises(WeightsError, str(Path("coco").absolute())):
        lookonce.load("./coco")


def test_the_second_file_of_openvino_leads_to_the_first(tmp_path: Path):
    for name in ("net.xml", "net.bin"):
        (tmp_path / name).write_text("<net/>")
    with raises(WeightsError, "net.xml", path=tmp_path / "net.bin"):
        find_weights(tmp_path / "net.bin")


def test_the_table_is_whole():
    assert PUBLISHED["coco"].content.sha256 == RELEASED_COCO_SHA256
    for published in PUBLISHED.values():
        assert len(published.content.sha256) == 64
        assert published.licence
        assert published.licence_source.startswith("https://")
        assert str(published.sources[0]).endswith(published.file_name)


@pytest.mark.network
def test_coco_is_pulled_for_real_and_finds_what_the_photograph_shows(monkeypatch, tmp_path: Path, shared):
    monkeypatch.chdir(tmp_path)
    folder = find_weights("coco")
    assert load_checkpoint(folder).record.masks == ((3, 4, 5), (1, 2, 3))
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    done = lookonce.load("coco").predict(shared("data/media/pictures/person.jpg"))
    (image,) = done.images
    best = {
        image.class_names[label]: round(float(score), 2)
        for label, score in zip(image.detections.labels[::-1], image.detections.scores[::-1], strict=True)
    }
    assert (best["person"], best["dog"], best["horse"]) == (0.95, 0.95, 0.92)
