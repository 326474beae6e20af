import re

import pytest
from raised import raises

from lookonce.errors import WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import FULL_CHANNELS, ModelRecord
from lookonce.weights.darknet_cfg import parse, read_cfg
from lookonce.weights.darknet_text import write_cfg

SLIM = (4, 4, 4, 4, 4, 4, 8, 0, 0, 4, 4)
THREE = (4, 4, 4, 4, 4, 4, 8, 4, 4, 4, 4, 4, 4)


def described(**changes: object) -> ModelRecord:
    names = tuple(map(str, range(3)))
    values = {"dialect": DIALECTS["darknet"], "class_names": names, "category_ids": (1, 2, 3), **changes}
    return ModelRecord.model_validate(values)


THREE_HEADS = {
    "channels": THREE,
    "strides": (32, 16, 8),
    "anchors": tuple((10.0 * n, 5.0 * n) for n in range(1, 10)),
    "masks": ((6, 7, 8), (3, 4, 5), (0, 1, 2)),
    "dialect": DIALECTS["darknet"].model_copy(update={"center_scales": {32: 1.05, 16: 1.1, 8: 1.2}}),
}


@pytest.mark.parametrize(
    "record",
    [
        described(),
        described(channels=SLIM, image_size=(320, 352)),
        described(channels=(*SLIM[:7], 4, 0, 4, 4), masks=((3, 4, 5), (1, 2, 3))),
        described(dialect=DIALECTS["darknet"].model_copy(update={"activation": "silu"}), masks=((5,), (0, 1, 2, 3))),
        described(**THREE_HEADS),
        described(dialect=DIALECTS["darknet"].model_copy(update={"activation": "relu", "pool_edge": "none"})),
    ],
    ids=["tiny", "slim", "half slim", "swish", "three heads", "relu without pool"],
)
def test_what_is_written_reads_back_as_the_same_network(record: ModelRecord) -> None:
    read = read_cfg(write_cfg(record), "x.cfg")
    for fact in ("dialect", "channels", "strides", "anchors", "masks", "image_size", "num_classes"):
        assert getattr(read, fact) == getattr(record, fact), fact


def test_the_standard_network_has_darknets_24_layers_and_routes() -> None:
    """yolov3-tiny.cfg: route -4 of layer 17 is 13, route -1, 8 of layer 20 is 19 and 8; 3 * (5 + 80) filters."""
    names = tuple(map(str, range(80)))
    sections = parse(write_cfg(described(class_names=names, category_ids=tuple(range(80)))), "x.cfg")[1:]
    assert len(sections) == 24
    assert [sections[index].options["layers"] for index in (17, 20)] == ["13", "19,8"]
    assert [sections[index].options["filters"] for index in (0, 12, 13, 15, 22)] == ["16", "1024", "256", "255", "255"]
    assert sections[11].options == {"size": "2", "stride": "1"}


def test_a_real_slim_cfg(shared) -> None:  # type: ignore[no-untyped-def]
    text = shared("data/aix2022/yolov3-tiny-aix2022.cfg").read_text()
    record = read_cfg(text, "aix.cfg")
    assert record.channels == (16, 32, 64, 128, 128, 128, 128, 0, 0, 128, 128)
    assert (record.num_classes, record.image_size, record.masks) == (60, (320, 320), ((3, 4, 5), (0, 1, 2)))


def test_comments_blanks_and_short_names_are_darknets() -> None:
    text = write_cfg(described()).replace("[convolutional]", "# a [comment]\n;another\n[conv]").replace("=", " = ")
    assert read_cfg("\n" + text, "x.cfg").channels == FULL_CHANNELS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("momentum=0.9", "momentum 0.9"),
        ("[net]", "\n# \ufffd\u2028[yolo]\n[network]"),
        ("filters=16\n", "filters=16 ;a comment\nfilters=\nbinary\n"),
        ("size=2\nstride=2\n", "stride=2\n"),
        ("mask=3,4,5", "mask = 3, 4, 5,"),
        ("344,319", "344.0,319.,"),
        ("layers=19,8", "layers=-1,8"),
        ("pad=1\n", "padding=+1\n"),
    ],
)
def test_whatever_darknets_parser_passes_over_is_passed_over(old: str, new: str) -> None:
    text = write_cfg(described())
    assert old in text
    assert read_cfg(text.replace(old, new, 1), "x.cfg") == read_cfg(text, "x.cfg")


def test_each_yolo_section_may_have_anchors_of_its_own() -> None:
    """The second, of stride 16, has three: these come first, then those that stride 32 selects from its six."""
    coarse, fine = write_cfg(described(masks=((4, 5), (0, 1, 2)))).rsplit("[yolo]", 1)
    fine = re.sub("anchors=.*", "anchors=12,26, 24,37, 16,114", fine)
    record = read_cfg(f"{coarse}[yolo]{fine}", "x.cfg")
    assert record.anchors == ((12, 26), (24, 37), (16, 114), (135, 169), (344, 319))
    assert record.masks == ((3, 4), (0, 1, 2))


CONVOLUTION_13 = "[convolutional]\nsize=1\nstride=1\nbatch_normalize=1\npad=1\nfilters=256"


@pytest.mark.parametrize(
    ("old", "new", "setting", "told"),
    [
        ("[net]", "[nett]", None, ["[net]"]),
        ("channels=3", "channels=1", "channels", ["line 1:", "channels=1"]),
        ("width=416", "width=400", "width", ["width=400", "32", "--image-size"]),
        ("width=416", "width=many", "width", ["width=many"]),
        (CONVOLUTION_13, "[shortcut]\nfrom=-3", None, ["layer 13: [shortcut]", "[convolutional]"]),
        (CONVOLUTION_13, CONVOLUTION_13.replace("size=1", "size=5"), None, ["layer 13:", "size=5"]),
        ("layers=19,8", "layers=-1, 6", None, ["layer 20: [route]", "[19, 6]", "[19, 8]"]),
        ("pad=1\nfilters=16\n", "filters=16\n", None, ["layer 0:", "padding 0"]),
        ("filters=16\n", "filters=16\ngroups=2\n", None, ["layer 0:", "groups=2"]),
        ("activation=leaky", "activation=mish", None, ["layer 0:", "activation=mish", "leaky", "swish"]),
        ("mask=3,4,5", "mask=3,4,6", "mask", ["mask=3,4,6"]),
        ("mask=3,4,5", "mask=3,4", "filters", ["24", "2 anchors"]),
        ("classes=3", "classes=4", "filters", ["anchors", "classes"]),
        ("anchors=10,14", "anchors=10,fourteen", "anchors", ["anchors=fourteen"]),
        ("anchors=10,14", "anchors=10,-14", "anchors", ["-14"]),
        ("random=1\n", "random=1\nnew_coords=1\n", None, ["layer 16: [yolo]", "new_coords=1"]),
    ],
)
def test_a_cfg_of_another_network_names_the_first_layer_that_differs(
    old: str, new: str, setting: str | None, told: list[str]
) -> None:
    text = write_cfg(described())
    assert old in text
    with raises(WeightsError, *told, path="x.cfg", setting=setting):
        read_cfg(text.replace(old, new, 1), "x.cfg")


def test_layers_too_few_or_too_many_are_told() -> None:
    text = write_cfg(described())
    with raises(WeightsError, "layer 24", "[avgpool]", path="x.cfg"):
        read_cfg(text + "[avgpool]\n", "x.cfg")
    with raises(WeightsError, "layer 22", "[yolo]", path="x.cfg"):
        read_cfg(text[: text.rindex("[yolo]")], "x.cfg")
    with raises(WeightsError, "1,000,001", path="x.cfg"):
        read_cfg(" " * 1_000_001, "x.cfg")


def test_a_size_given_replaces_the_files_own_even_a_wrong_one() -> None:
    text = write_cfg(described()).replace("width=416", "width=400")
    assert read_cfg(text, "x.cfg", image_size=608).image_size == (608, 608)
