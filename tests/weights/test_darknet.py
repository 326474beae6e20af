import struct
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from raised import raises

from lookonce.errors import SettingsError, WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.convolutions import convolutions, model_from_record
from lookonce.weights.darknet import RELEASED_COCO_SHA256, choose_masks, read_darknet, read_weights, to_darknet
from lookonce.weights.darknet_text import write_cfg
from lookonce.weights.foreign import COCO_IDS, COCO_NAMES, ReadOptions
from lookonce.weights.load import load_state

CHANNELS = (4, 6, 4, 8, 4, 4, 8, 4, 6, 4, 8)
THREE = {
    "channels": (*CHANNELS, 6, 4),
    "strides": (32, 16, 8),
    "anchors": tuple((10.0 * n, 5.0 * n) for n in range(1, 10)),
    "masks": ((6, 7, 8), (3, 4, 5), (0, 1, 2)),
    "dialect": DIALECTS["darknet"].model_copy(update={"center_scales": {32: 1.0, 16: 1.0, 8: 1.0}}),
}
NETWORKS = {
    "tiny": {},
    "slim": {"channels": (*CHANNELS[:7], 0, 0, *CHANNELS[9:])},
    "three heads": THREE,
    "relu without pool": {
        "dialect": DIALECTS["darknet"].model_copy(update={"activation": "relu", "pool_edge": "none"})
    },
}


def described(**changes: object) -> ModelRecord:
    values = {
        "dialect": DIALECTS["darknet"],
        "channels": CHANNELS,
        "class_names": ("a", "b"),
        "category_ids": (1, 2),
        "image_size": (64, 96),
    }
    return ModelRecord.model_validate({**values, **changes})


def write(folder: Path, cfg: str, floats: np.ndarray, version: tuple[int, int, int] = (0, 2, 0)) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "x.cfg").write_text(cfg)
    seen = struct.pack("<Q" if version[1] >= 2 else "<I", 640)
    (folder / "x.weights").write_bytes(struct.pack("<3i", *version) + seen + floats.astype("<f4").tobytes())
    return folder / "x.cfg", folder / "x.weights"


def random_floats(record: ModelRecord) -> np.ndarray:
    """As many as the network needs, variances (and all else) positive."""
    count = sum(int(np.prod(shape)) for one in convolutions(record) for _, shape in one.arrays.values())
    return np.random.default_rng(0).uniform(0.02, 0.4, count).astype(np.float32)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_network_answers_as_darknets_layers_do_one_by_one(
    tmp_path: Path, run_darknet: Callable[..., list[torch.Tensor]], network: str
) -> None:
    record = described(**NETWORKS[network])
    floats = random_floats(record)
    floats *= np.where(np.arange(len(floats)) % 3, 1, -1)  # weights of both signs, but variances below 0 with them
    at = 0
    for one in convolutions(record):
        size = one.shape[0]
        if one.normalised:
            floats[at + 3 * size : at + 4 * size] = np.abs(floats[at + 3 * size : at + 4 * size])
        at += sum(int(np.prod(shape)) for _, shape in one.arrays.values())
    cfg, weights = write(tmp_path, write_cfg(record), floats)
    read = read_darknet(cfg, weights, ReadOptions(class_names=("a", "b")))
    model = model_from_record(read.record).eval()
    load_state(model, read.state, "x.weights")
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for ours, theirs in zip(model(images), run_darknet(cfg.read_text(), floats, images), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_network_with_merged_batchnorm_answers_as_darknet_and_is_written_with_batchnorm(
    tmp_path: Path, run_darknet: Callable[..., list[torch.Tensor]]
) -> None:
    record = described()
    count = sum(int(np.prod(one.shape)) + one.shape[0] for one in convolutions(record))
    floats = np.random.default_rng(0).uniform(-0.2, 0.2, count).astype(np.float32)
    text = write_cfg(record).replace("batch_normalize=1", "batch_normalize=0")
    cfg, weights = write(tmp_path, text, floats)
    read = read_darknet(cfg, weights, ReadOptions(class_names=("a", "b")))
    model = model_from_record(read.record).eval()
    load_state(model, read.state, "x.weights")
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    written = to_darknet(read.record, dict(read.state), "x")
    again = np.frombuffer(written[".weights"], "<f4", offset=20)
    with torch.inference_mode():
        ours = model(images)
        for cfg_text, values in ((text, floats), (written[".cfg"].decode(), again)):
            for one, theirs in zip(ours, run_darknet(cfg_text, values, images), strict=True):
                torch.testing.assert_close(one, theirs, atol=1e-6, rtol=1e-5)


def test_a_comment_that_is_no_utf8_and_a_line_without_equals_are_passed_over(tmp_path: Path) -> None:
    record = described()
    cfg, weights = write(tmp_path, write_cfg(record), random_floats(record))
    cfg.write_bytes("# 旧的网络\n".encode("gbk") + cfg.read_bytes().replace(b"angle=0", b"angle=0\n//pooling"))
    read = read_darknet(cfg, weights, ReadOptions())
    assert read.record.channels == record.channels
    assert len(read.warnings) == 1
    assert "'//pooling'" in read.warnings[0]


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (0, 2, 5)])
@pytest.mark.parametrize("network", NETWORKS)
def test_files_come_back_byte_for_byte(tmp_path: Path, version: tuple[int, int, int], network: str) -> None:
    record = described(**NETWORKS[network])
    cfg, weights = write(tmp_path, "# mine\n" + write_cfg(record), random_floats(record), version)
    read = read_darknet(cfg, weights, ReadOptions(class_names=("a", "b")))
    files = to_darknet(read.record, dict(read.state), "x")
    assert files[".weights"] == weights.read_bytes()
    assert files[".cfg"] == cfg.read_bytes()
    assert files[".names"] == b"a\nb\n"


def test_a_real_file_comes_back_byte_for_byte(shared: Callable[[str], Path]) -> None:
    folder = shared("data/aix2022")
    cfg, weights = folder / "yolov3-tiny-aix2022.cfg", folder / "yolov3-tiny-aix2022.weights"
    read = read_darknet(cfg, weights, ReadOptions())
    assert all(told in read.notes[0] for told in ("0.2.5", "3,212,800", "904,694"))
    files = to_darknet(read.record, dict(read.state), "aix")
    assert (files[".cfg"], files[".weights"]) == (cfg.read_bytes(), weights.read_bytes())


def test_revision_5_stretches_unless_the_cfg_says_otherwise(tmp_path: Path) -> None:
    record = described()
    floats = random_floats(record)
    letterboxed = described(preprocessing={"resize": "letterbox"})
    plain = write_cfg(described(preprocessing={"resize": "stretch"}))
    for text, version, wanted, expected in (
        (plain, (0, 2, 5), "auto", "stretch"),
        (plain, (0, 2, 0), "auto", "letterbox"),
        (write_cfg(letterboxed), (0, 2, 5), "auto", "letterbox"),
        (plain, (0, 2, 5), "letterbox", "letterbox"),
    ):
        cfg, weights = write(tmp_path, text, floats, version)
        read = read_darknet(cfg, weights, ReadOptions(resize=wanted))  # type: ignore[arg-type]
        assert read.record.preprocessing.resize == expected


def test_the_released_coco_weights_are_read_with_masks_1_2_3_and_a_warning() -> None:
    published = ((3, 4, 5), (0, 1, 2))
    masks, warnings = choose_masks(published, "auto", RELEASED_COCO_SHA256, 6)
    assert masks == ((3, 4, 5), (1, 2, 3))
    assert "trained with mask=1,2,3" in warnings[0]
    assert choose_masks(published, "cfg", RELEASED_COCO_SHA256, 6) == (published, [])


def test_masks_of_other_files_are_their_own_unless_told_otherwise() -> None:
    published = ((3, 4, 5), (0, 1, 2))
    assert choose_masks(published, "auto", "0" * 64, 6) == (published, [])
    assert choose_masks(published, (1, 2, 3), "0" * 64, 6) == (((3, 4, 5), (1, 2, 3)), [])
    right = ((3, 4, 5), (1, 2, 3))
    assert choose_masks(right, "auto", RELEASED_COCO_SHA256, 6) == (right, [])
    with raises(SettingsError, "2 numbers", "expected 3", setting="mask"):
        choose_masks(published, (1, 2), "0" * 64, 6)
    with raises(SettingsError, "6 anchors", setting="mask", value=(1, 2, 9)):
        choose_masks(published, (1, 2, 9), "0" * 64, 6)


def test_other_masks_change_their_line_of_the_cfg_alone(tmp_path: Path) -> None:
    record = described()
    cfg, weights = write(tmp_path, "# mask=0,1,2 is theirs\r\n" + write_cfg(record), random_floats(record))
    read = read_darknet(cfg, weights, ReadOptions(masks=(1, 2, 3)))
    files = to_darknet(read.record, dict(read.state), "x")
    assert files[".cfg"] == cfg.read_bytes().replace(b"\nmask=0,1,2", b"\nmask=1,2,3")
    assert files[".weights"] == weights.read_bytes()


def test_eighty_classes_without_names_are_cocos() -> None:
    assert (len(COCO_NAMES), len(COCO_IDS), COCO_NAMES[79], COCO_IDS[79]) == (80, 80, "toothbrush", 90)
    assert (COCO_NAMES[9], COCO_NAMES[27], COCO_IDS[11]) == ("traffic light", "tie", 13)


def test_a_cut_off_file_is_a_backbone(tmp_path: Path) -> None:
    """yolov3-tiny.conv.15: the first 15 layers, convolutions 0 to 8."""
    record = described()
    wanted = list(convolutions(record))[:9]
    count = sum(int(np.prod(shape)) for one in wanted for _, shape in one.arrays.values())
    cfg, weights = write(tmp_path, write_cfg(record), random_floats(record)[:count])
    read = read_darknet(cfg, weights, ReadOptions())
    assert read.is_backbone
    assert {name.rsplit(".", 2)[0] for name in read.state} == {one.name for one in wanted}
    assert "9 of 13 " in read.notes[1]


@pytest.mark.parametrize("surplus", [-3, 2, 10_000])
def test_a_size_that_is_not_the_cfgs_is_an_error(tmp_path: Path, surplus: int) -> None:
    record = described()
    floats = random_floats(record)
    resized = floats[:surplus] if surplus < 0 else np.concatenate([floats, floats[:surplus]])
    cfg, weights = write(tmp_path, write_cfg(record), resized)
    place = "inside head16" if surplus < 0 else "after the last"
    with raises(WeightsError, place, "x.cfg", path=weights):
        read_darknet(cfg, weights, ReadOptions())


def test_a_weights_file_alone_says_nothing_of_its_network(tmp_path: Path) -> None:
    record = described()
    _, weights = write(tmp_path, write_cfg(record), random_floats(record))
    with raises(WeightsError, ".cfg", path=weights):
        read_darknet(None, weights, ReadOptions())


def test_damaged_files_are_told(tmp_path: Path) -> None:
    record = described()
    floats = random_floats(record)
    floats[1] = np.nan
    cfg, weights = write(tmp_path, write_cfg(record), floats)
    with raises(WeightsError, path=weights, value="backbone.conv0.norm.bias"):
        read_darknet(cfg, weights, ReadOptions())
    floats[1] = 0
    floats[3 * CHANNELS[0]] = -1
    cfg, weights = write(tmp_path, write_cfg(record), floats)
    with raises(WeightsError, path=weights, value="backbone.conv0.norm.running_var"):
        read_darknet(cfg, weights, ReadOptions())
    weights.write_bytes(weights.read_bytes()[:-1])
    with raises(WeightsError, "multiple of 4", path=weights):
        read_weights(weights)
    weights.write_bytes(b"\0\0\0\0\7\0\0\0\0\0\0\0")
    with raises(WeightsError, "version 0.7.0", path=weights):
        read_weights(weights)


def test_the_right_number_of_names_is_asked_for(tmp_path: Path) -> None:
    record = described()
    cfg, weights = write(tmp_path, write_cfg(record), random_floats(record))
    with raises(WeightsError, "2 classes", "3 class names", path=weights):
        read_darknet(cfg, weights, ReadOptions(class_names=("a", "b", "c")))
    read = read_darknet(cfg, weights, ReadOptions())
    assert read.record.class_names == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dialect": DIALECTS["ultralytics"]}, "square"),
        ({"preprocessing": {"mean": (0.5, 0.5, 0.5)}}, "(0.5, 0.5, 0.5)"),
        ({"preprocessing": {"color_order": "BGR"}}, "BGR"),
    ],
)
def test_what_a_cfg_cannot_say_is_refused(
    make_state: Callable[..., dict[str, torch.Tensor]], changes: dict[str, object], message: str
) -> None:
    record = described(**changes)
    with raises(WeightsError, message, ".cfg", path="x"):
        to_darknet(record, make_state(record), "x")


def test_another_epsilon_is_taken_up_by_the_variances(
    tmp_path: Path, make_state: Callable[..., dict[str, torch.Tensor]]
) -> None:
    record = described(dialect=DIALECTS["darknet"].model_copy(update={"batchnorm_eps": 1e-3}))
    state = make_state(record)
    for suffix, content in to_darknet(record, state, "x").items():
        (tmp_path / f"x{suffix}").write_bytes(content)
    read = read_darknet(tmp_path / "x.cfg", tmp_path / "x.weights", ReadOptions())
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    answers = []
    for a_record, a_state in ((record, state), (read.record, read.state)):
        model = model_from_record(a_record).eval()
        load_state(model, a_state, "x")
        with torch.inference_mode():
            answers.append(model(images))
    for before, after in zip(*answers, strict=True):
        torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("anchors-per-head", {"masks": ((3, 4, 5), (0, 1, 2))}),
        ("comment-gbk", {}),
        ("line-without-equals", {}),
        ("merged-bn", {}),
        ("no-stride1-pool", {"dialect.pool_edge": "none"}),
    ],
)
def test_files_of_public_reports_are_read_and_can_be_written_again(
    shared: Callable[[str], Path], tmp_path: Path, case: str, changes: dict[str, object]
) -> None:
    folder = shared(f"cases/{case}")
    read = read_darknet(folder / "net.cfg", folder / "net.weights", ReadOptions())
    assert {name: attrgetter(name)(read.record) for name in changes} == changes
    model = model_from_record(read.record)
    load_state(model, read.state, case)
    for suffix, content in to_darknet(read.record, dict(read.state), case).items():
        (tmp_path / f"net{suffix}").write_bytes(content)
    again = read_darknet(tmp_path / "net.cfg", tmp_path / "net.weights", ReadOptions())
    assert all(torch.equal(array, again.state[name]) for name, array in read.state.items())
    assert (again.record.anchors, again.record.masks) == (read.record.anchors, read.record.masks)
