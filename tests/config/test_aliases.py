"""The model zoo's options: all of them, with the document's meaning and defaults."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from raised import raises

from lookonce.config.aliases import ALIASES, BY_OLD_NAME, MULTI_SCALE_SIZES
from lookonce.config.resolve import Resolved, resolve
from lookonce.config.schema import Settings
from lookonce.errors import SettingsError

# The names of the options in the original's configuration file and code.
# fmt: off
DOCUMENTED = {
    "enable_modelarts", "data_url", "train_url", "checkpoint_url", "data_path", "output_path", "load_path",
    "need_modelarts_dataset_unzip", "modelarts_dataset_unzip_name", "device_target", "finetune", "data_dir",
    "finetune_path", "predict_path", "per_batch_size", "pretrained_backbone", "resume_yolo", "resume_epoch",
    "lr_scheduler", "lr", "lr_epochs", "lr_gamma", "eta_min", "t_max", "max_epoch", "warmup_epochs", "weight_decay",
    "momentum", "loss_scale", "label_smooth", "label_smooth_factor", "log_interval", "ckpt_path", "ckpt_interval",
    "is_save_on_master", "is_distributed", "rank", "group_size", "need_profiler", "training_shape", "resize_rate",
    "multi_scale", "pretrained", "log_path", "nms_thresh", "ann_file", "img_path", "result_path", "testing_shape",
    "test_img_shape", "eval_ignore_threshold", "multi_label", "multi_label_thresh", "device_id", "batch_size",
    "ckpt_file", "file_name", "file_format", "keep_detect", "num_parallel_workers", "hue", "saturation", "value",
    "jitter", "num_classes", "max_box", "coord_scale", "large_scale", "ignore_threshold", "anchor_scales",
}
# fmt: on
# "Script Parameters" of the document, as typed there -> what recipe modelzoo must hold.
SCRIPT_PARAMETERS = {
    "per_batch_size": ("32", "batch_size", 32),
    "pretrained_backbone": ("", "backbone_weights", None),
    "resume_yolo": ("", "weights", None),
    "lr_scheduler": ("cosine_annealing", "schedule", "cosine_annealing"),
    "lr": ("0.001", "lr", 0.001),
    "lr_epochs": ("220,250", "lr_epochs", (220, 250)),
    "lr_gamma": ("0.1", "lr_gamma", 0.1),
    "eta_min": ("0", "lr_floor", 0),
    "t_max": ("300", "t_max", 300),
    "max_epoch": ("300", "epochs", 300),
    "warmup_epochs": ("4", "warmup_epochs", 4),
    "weight_decay": ("0.016", "weight_decay", 0.016),
    "momentum": ("0.9", "momentum", 0.9),
    "loss_scale": ("1024", "loss_scale", 1024),
    "label_smooth": ("0", "label_smoothing", 0),
    "label_smooth_factor": ("0.1", "label_smoothing", 0),
    "log_interval": ("100", "log_interval", 100),
    "ckpt_interval": ("-1", "save_every", 1),
    "is_save_on_master": ("1", "save_on", "main"),
    "need_profiler": ("0", "profile", False),
    "resume_epoch": ("0", "start_epoch", 0),
    "training_shape": ("640", "image_size", 640),
    "resize_rate": ("10", "resize_every", 10),
    # from the configuration file behind it
    "max_box": ("90", "max_boxes", 90),
    "num_parallel_workers": ("8", "workers", 8),
    "hue": ("0.015", "hue", 0.015),
    "saturation": ("1.5", "saturation", 1.5),
    "value": ("0.4", "brightness", 2.5),
    "jitter": ("0.3", "aspect_jitter", 0.3),
    "coord_scale": ("4", "box_weight", 4),
    "large_scale": ("4", "stride32_weight", 4),
    "ignore_threshold": ("0.7", "ignore_iou", 0.7),
    "nms_thresh": ("0.5", "iou_threshold", 0.5),
    "eval_ignore_threshold": ("0.001", "score_threshold", 0.001),
}
WITHOUT_PLACE = {"data_dir", "ckpt_path", "device_target"}  # a path or a device is the user's, not the recipe's


def train(**flags: object) -> Resolved:
    return resolve(flags)


def test_every_documented_option_is_in_the_table():
    assert not DOCUMENTED - set(BY_OLD_NAME)
    assert len(BY_OLD_NAME) == len(ALIASES)


def test_the_list_here_is_the_original_s(shared: Callable[[str], Path]):
    options = yaml.safe_load(shared("reference/modelzoo-options.yaml").read_text(encoding="utf-8"))
    names = [name for option in options for name in option["names"]]
    assert set(names) - {"assignment IoU threshold"} == DOCUMENTED
    assert set(names) <= set(BY_OLD_NAME)


def test_the_script_parameters_of_the_document_are_covered(shared: Callable[[str], Path]):
    text = shared("reference/modelzoo-document.md").read_text(encoding="utf-8")
    section = text[text.index("Major parameters train.py") : text.index("## [Training Process]")]
    names = set(re.findall(r"--(\w+)", section)) - {"help"}
    assert len(names) > 25
    assert names <= set(BY_OLD_NAME)


@pytest.mark.parametrize("alias", ALIASES, ids=lambda alias: alias.old)
def test_every_option_is_accepted_at_the_document_s_default(alias):
    default = {"multi_scale": "320,352,384", "batch_size": "1"}.get(alias.old, alias.default)
    resolved = resolve({alias.old: default})
    assert resolved.notes == ()
    if alias.new in Settings.model_fields and alias.program == "train" and default:
        changed = {name for name, origin in resolved.origins.items() if origin != "default"}
        assert alias.new in changed or alias.old == "label_smooth_factor"


@pytest.mark.parametrize("old", [*SCRIPT_PARAMETERS])
def test_recipe_modelzoo_holds_the_document_s_default(old: str):
    default, new, value = SCRIPT_PARAMETERS[old]
    assert BY_OLD_NAME[old].default == default
    assert getattr(resolve({"recipe": "modelzoo"}).settings, new) == pytest.approx(value)
    # and saying the default aloud changes nothing
    said = resolve({"recipe": "modelzoo", old: default}).settings
    assert said == resolve({"recipe": "modelzoo"}).settings


def test_recipe_modelzoo_is_the_original_s_method():
    settings = resolve({"recipe": "modelzoo"}).settings
    assert (settings.dialect, settings.activation, settings.optimizer) == ("mindspore", "leaky", "sgd")
    assert (settings.assignment, settings.assign_iou, settings.box_loss) == ("best_anchors", 0.213, "giou")
    assert (settings.objectness_target, settings.loss_per, settings.small_box_bonus) == ("one", "picture", True)
    assert (settings.ignore_own_head_only, settings.objectness_prior) == (True, 0.5)
    assert (settings.scale_min, settings.scale_max, settings.flip, settings.mosaic) == (0.25, 2, 0.5, 0)
    assert (settings.resize_mode, settings.normalize, settings.ema_decay) == ("stretch", "imagenet", 0)
    assert (settings.multi_scale, settings.nesterov, settings.clip_norm) == ((), False, 0)


def test_device_target_is_translated():
    assert train(device_target="Ascend").settings.device == "npu"
    assert train(device_target="GPU", device_id="2").settings.device == "cuda:2"
    assert train(device_target="CPU").settings.device == "cpu"
    with raises(SettingsError, setting="device_id", value=3):
        train(device_id=3)


def test_label_smooth_is_a_switch_with_a_strength():
    assert train(label_smooth=1).settings.label_smoothing == 0.1
    assert train(label_smooth="1", label_smooth_factor="0.2").settings.label_smoothing == 0.2
    assert train(label_smooth=0, label_smooth_factor=0.2).settings.label_smoothing == 0
    with raises(SettingsError, "label_smooth=1", setting="label_smooth_factor", value=0.2):
        train(label_smooth_factor=0.2)


def test_checkpoints_come_after_each_epoch_or_every_so_many_steps():
    each_epoch, by_steps = train(ckpt_interval=-1).settings, train(ckpt_interval="500").settings
    assert (each_epoch.save_every, each_epoch.save_steps) == (1, 0)
    assert by_steps.save_steps == 500
    assert [train(is_save_on_master=on).settings.save_on for on in ("1", 0)] == ["main", "all"]


def test_fine_tuning_in_the_document_s_words():
    settings = train(finetune=1, finetune_path="runs/coco-1", resume_epoch="20", need_profiler="1").settings
    assert (settings.weights, settings.start_epoch, settings.profile) == (Path("runs/coco-1"), 20, True)


def test_training_shape_fixes_the_size_or_frees_it():
    fixed = train(training_shape="416", multi_scale="320,352").settings
    assert (fixed.image_size, fixed.multi_scale) == (416, ())
    assert train(training_shape="").settings.multi_scale == MULTI_SCALE_SIZES
    assert train(training_shape="0", multi_scale="320,352").settings.multi_scale == (320, 352)
    assert train(multi_scale="320,352").settings.multi_scale == (320, 352)
    assert train(training_shape=0, multi_scale=[[320, 320], [352, 352]]).settings.multi_scale == (320, 352)
    assert MULTI_SCALE_SIZES[0] == 320
    assert MULTI_SCALE_SIZES[-1] == 608


def test_brightness_is_turned_over_when_under_one():
    assert train(value="0.4").settings.brightness == pytest.approx(2.5)
    assert train(value="1.3").settings.brightness == 1.3
    with raises(SettingsError, setting="brightness", value="much"):
        train(value="much")


def test_anchors_are_read_in_the_document_s_spelling():
    anchors = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
    assert train(anchor_scales=BY_OLD_NAME["anchor_scales"].default).settings.anchors == anchors
    assert train(anchor_scales=[list(pair) for pair in anchors]).settings.anchors == anchors


@pytest.mark.parametrize(
    ("old", "value", "way_to_go"),
    [
        ("ckpt_interval", "often", "whole number"),
        ("is_distributed", "1", "devices=N"),
        ("rank", "3", "lookonce train --devices N"),
        ("multi_label", "False", "leave it out"),
        ("enable_modelarts", "True", "lookonce job --file"),
        ("data_url", "s3://bucket/data", "lookonce job"),
        ("pretrained", "0-300_.ckpt", "lookonce eval"),
        ("ckpt_file", "0-300_.ckpt", "lookonce export"),
        ("testing_shape", "416", "lookonce eval"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_way_to_go(old: str, value: str, way_to_go: str):
    with raises(SettingsError, way_to_go, setting=old, value=value):
        resolve({old: value})


def test_a_group_is_so_many_devices():
    assert train(is_distributed=1, group_size=8).settings.devices == 8
    assert train(is_distributed=0).settings.devices == 1


def test_what_cannot_change_anything_is_said():
    [note] = train(num_classes=3).notes
    assert note.startswith("num_classes=3: ")
    assert len(train(multi_label_thresh=0.3).notes) == 1


def test_origins_name_the_spelling():
    assert train(per_batch_size=2).origins["batch_size"] == "command line, per_batch_size"


def test_a_configuration_file_of_the_model_zoo_is_taken_as_it_is(tmp_path: Path):
    # Flat names with several YAML documents: the second and third describe the options.
    path = tmp_path / "default_config.yaml"
    path.write_text(
        "enable_modelarts: False\ndata_url: ''\ndevice_target: 'CPU'\nneed_modelarts_dataset_unzip: True\n"
        "per_batch_size: 4\nlr_epochs: '220,250'\nlabel_smooth: 0\nlabel_smooth_factor: 0.1\ntraining_shape: 640\n"
        "multi_scale: [[320, 320], [352, 352]]\nis_distributed: 0\nckpt_interval: -1\ntest_img_shape: [640, 640]\n"
        "---\nper_batch_size: 'batch size of each device'\n"
    )
    settings = resolve({"file": path}).settings
    assert (settings.batch_size, settings.image_size, settings.multi_scale, settings.device) == (4, 640, (), "cpu")
