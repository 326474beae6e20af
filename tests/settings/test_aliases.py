"""The model zoo's options: all of them, with the document's meaning and defaults."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from raised import raises

from lookonce.errors import SettingsError
from lookonce.settings.aliases import ALIASES, BY_OLD_NAME, MULTI_SCALE_SIZES, as_named, for_verb
from lookonce.settings.resolve import Resolved, is_said, resolve
from lookonce.settings.schema import Settings

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
# Names that its configuration file holds besides, and no text describes.
IN_THE_FILE_ONLY = {"input_file", "output_file", "out_channel"}
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
    resolved = resolve({alias.old: alias.default, "recipe": "modelzoo"})
    idle = alias.program != "train" and alias.old != "batch_size"
    assert [alias.old in note for note in resolved.notes] == ([True] if idle else [])
    if alias.new in Settings.model_fields and alias.program == "train" and alias.default:
        said = {name for name, origin in resolved.origins.items() if is_said(origin)}
        assert alias.new in said or alias.old in {"label_smooth_factor", "device_id"}


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
    assert (settings.objectness_target, settings.loss_per, settings.small_box_bonus) == ("one", "image", True)
    assert (settings.ignore_own_head_only, settings.objectness_prior) == (True, 0.5)
    assert (settings.scale_min, settings.scale_max, settings.flip, settings.mosaic) == (0.25, 2, 0.5, 0)
    assert (settings.resize_mode, settings.normalize, settings.ema_decay) == ("stretch", "imagenet", 0)
    assert (settings.multi_scale, settings.nesterov, settings.clip_norm) == ((), False, 0)


def test_device_target_is_translated():
    assert train(device_target="Ascend").settings.device == "npu"
    assert train(device_target="GPU", device_id="2").settings.device == "cuda:2"
    assert train(device_target="CPU").settings.device == "cpu"
    assert train(device_target="CPU", device_id=0).settings.device == "cpu"
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
    for pairs in ([[320, 320], [352, 352]], "[[320, 320], [352, 352]]", "((320,320),(352,352))"):
        assert train(training_shape=0, multi_scale=pairs).settings.multi_scale == (320, 352)
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
        ("rank", "3", "lookonce train --devices N"),
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
    alone = train(is_distributed=1, recipe="modelzoo")
    assert alone.settings.devices == 1
    assert [re.findall(r"\w+=\w+", note) for note in alone.notes] == [["is_distributed=1", "devices=N"]]


def test_what_cannot_change_anything_is_said():
    for option in ({"num_classes": 3}, {"multi_label_thresh": 0.3}, {"out_channel": 24}):
        ((name, value),) = option.items()
        (note,) = train(**option, recipe="modern").notes
        assert note.startswith(f"{name}: {value}; ")


@pytest.mark.parametrize(("value", "means"), [("True", True), ("False", False), (0, False)])
def test_multi_label_is_a_setting(value, means):
    assert train(multi_label=value).settings.multi_label is means


@pytest.mark.parametrize("sizes", ["[[320,352]]", [[320, 320], [352, 384]], "[[320,320,320]]", "[[]]", "[320, 333]"])
def test_sizes_that_are_no_squares_or_no_multiples_of_32_are_refused_by_name(sizes):
    with pytest.raises(SettingsError) as told:
        train(multi_scale=sizes)
    assert "multi_scale" in str(told.value)
    assert "expected" in str(told.value)


def test_origins_name_the_spelling():
    assert train(per_batch_size=2).origins["batch_size"] == "command line, per_batch_size"


# What the original's configuration file holds of each kind; the whole file lies with the data (test_document.py).
CONFIGURATION = """\
enable_modelarts: False
data_url: ""
data_dir: "/cache/data/coco2017/"
device_target: "Ascend"
device_id: 0
per_batch_size: 32
batch_size: 1
lr_epochs: "220,250"
label_smooth: 0
label_smooth_factor: 0.1
is_distributed: 1
group_size: 1
training_shape: 640
multi_scale: [[320, 320], [352, 352], [384, 384], [416, 416], [448, 448], [480, 480], [512, 512], [544, 544],
              [576, 576], [608, 608]]
testing_shape: 640
test_img_shape: [640, 640]
out_channel: 255
input_file: ""
---
per_batch_size: "batch size of each device"
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Path]:
    def write(**changed: object) -> Path:
        text = CONFIGURATION
        for name, value in changed.items():
            text, count = re.subn(rf"^{name}: .*$", f"{name}: {value}", text, count=1, flags=re.MULTILINE)
            text = text if count else f"{name}: {value}\n{text}"
        path = tmp_path / "default_config.yaml"
        path.write_text(text)
        return path

    return write


def test_an_option_without_effect_brings_no_recipe():
    resolved = resolve({"num_classes": "2"})
    assert resolved.settings.recipe == "modern"
    assert any(note.startswith("num_classes: 2") for note in resolved.notes)
    assert resolve({"max_epoch": "2"}).settings.recipe == "modelzoo"


def test_a_configuration_file_of_the_model_zoo_brings_its_recipe(configuration: Callable[..., Path]):
    resolved = resolve({"file": configuration()})
    recipe = resolve({"recipe": "modelzoo"}).settings
    assert resolved.settings == recipe.model_copy(update={"data": "/cache/data/coco2017/"})
    assert resolved.origins["recipe"] == "implied by enable_modelarts"
    assert "recipe modelzoo" in resolved.notes[0]
    assert not any(is_said(origin) for origin in resolved.origins.values())


def test_what_a_file_holds_at_the_original_s_default_gives_way(configuration: Callable[..., Path]):
    typed = resolve({"file": configuration(), "multi_scale": "320,352", "epochs": "3", "batch_size": "4"})
    assert (typed.settings.multi_scale, typed.settings.epochs, typed.settings.batch_size) == ((320, 352), 3, 4)
    changed = resolve({"file": configuration(per_batch_size=4, batch_size=16, group_size=2)})
    assert (changed.settings.batch_size, changed.settings.devices) == (4, 2)  # batch_size is of the export there
    assert {name for name, origin in changed.origins.items() if is_said(origin)} == {"batch_size", "devices"}


def test_in_a_file_too_training_shape_decides_whether_sizes_are_drawn(configuration: Callable[..., Path]):
    assert resolve({"file": configuration()}).settings.multi_scale == ()
    assert resolve({"file": configuration(training_shape=0)}).settings.multi_scale == MULTI_SCALE_SIZES
    idle = train(training_shape=640, multi_scale="320,352", recipe="modelzoo")
    assert idle.settings.multi_scale == ()
    assert "training_shape=640" in "".join(idle.notes)


def test_a_recipe_that_is_named_takes_the_place_of_the_document_s(configuration: Callable[..., Path]):
    resolved = resolve({"file": configuration(max_epoch=20), "recipe": "modern"})
    modern = resolve({"recipe": "modern", "epochs": 20}).settings
    assert resolved.settings == modern
    (note,) = resolved.notes
    assert "per_batch_size" in note
    assert "max_epoch" not in note
    own = resolve({"file": configuration(recipe="modern")})  # whoever writes both means both
    assert (own.settings.recipe, own.settings.batch_size) == ("modern", 32)


def test_old_names_alone_bring_the_document_s_recipe_and_are_told():
    typed = train(lr_scheduler="cosine_annealing", weight_decay="0.016", warmup_epochs="4")
    assert typed.settings == resolve({"recipe": "modelzoo"}).settings
    assert "lr_scheduler" in typed.notes[0]
    assert train(weight_decay="0.016", warmup_epochs="4").settings.recipe == "modern"  # names that both have
    assert train(lr_scheduler="exponential", recipe="modern").settings.dialect == "ultralytics"


def test_two_names_for_one_setting_are_told_with_what_was_taken(configuration: Callable[..., Path]):
    typed = train(epochs="7", max_epoch="300")
    assert typed.settings.epochs == 7
    assert "epochs=7 is taken, not max_epoch=300" in "".join(typed.notes)
    over_file = resolve({"file": configuration(max_epoch=20), "epochs": "7"})
    assert over_file.settings.epochs == 7
    assert "epochs=7 is taken, not max_epoch=20" in "".join(over_file.notes)
    with pytest.raises(SettingsError, match="epochs=7 and max_epoch=8"):
        train(epochs="7", max_epoch="8")


def test_options_that_go_together_may_come_from_two_places(configuration: Callable[..., Path]):
    file = configuration(device_target="GPU", label_smooth=1)
    resolved = resolve({"file": file, "device_id": "2", "label_smooth_factor": "0.2"}).settings
    assert (resolved.device, resolved.label_smoothing) == ("cuda:2", 0.2)


def test_unknown_names_are_told_all_at_once(configuration: Callable[..., Path]):
    with pytest.raises(SettingsError) as caught:
        resolve({"file": configuration(per_batchsize=3, no_such_thing=1), "lrr": 2})
    lines = str(caught.value).splitlines()
    assert [name for line in lines for name in ("per_batchsize", "no_such_thing", "lrr") if name in line] == [
        "no_such_thing",
        "per_batchsize",
        "lrr",
    ]
    assert "default_config.yaml line 1" in lines[0]


OPTIONS_OF_EVAL = {"weights", "data", "images", "output", "image_size", "device", "iou_threshold", "batch_size"}


@pytest.mark.parametrize("alias", ALIASES, ids=lambda alias: alias.old)
@pytest.mark.parametrize(
    ("verb", "options"),
    [("eval", OPTIONS_OF_EVAL), ("export", {"weights", "to", "outputs", "batch", "output"}), ("check", {"data"})],
)
def test_every_verb_accepts_every_option_at_its_default(alias, verb: str, options: set[str]):
    meant = for_verb({alias.old: alias.default}, options, verb)
    if meant.settings:
        assert [*meant.settings] == [alias.new]
    else:
        assert alias.old == "device_id" or [alias.old in note for note in meant.notes] == [True]


@pytest.mark.parametrize(
    ("old", "value", "named"),
    [
        ("log_interval", "50", ["lookonce train", "--log-interval"]),
        ("training_shape", "416", ["lookonce train", "--image-size"]),
        ("resume_yolo", "x.ckpt", ["lookonce train", "--weights"]),
        ("ckpt_file", "x.ckpt", ["lookonce export", "--weights"]),
        ("rank", "3", ["lookonce train --devices"]),
    ],
)
def test_another_value_is_explained_where_an_option_means_nothing(old: str, value: str, named: list[str]):
    with pytest.raises(SettingsError) as caught:
        for_verb({old: value}, OPTIONS_OF_EVAL, "eval")
    assert str(caught.value).startswith(f"{old}: {value}; ")
    assert all(name in str(caught.value) for name in named)


def test_in_an_evaluation_a_size_at_its_default_gives_way_to_one_that_is_chosen():
    both = {"testing_shape": "416", "test_img_shape": "[640, 640]", "device_target": "GPU", "device_id": "1"}
    meant = for_verb(both, OPTIONS_OF_EVAL, "eval")
    assert meant.settings == {"image_size": "416", "device": "cuda:1"}
    assert "test_img_shape=[640, 640]" in meant.notes[0]
    with pytest.raises(SettingsError, match="testing_shape=416 and test_img_shape="):
        for_verb(both | {"test_img_shape": "[320, 320]"}, OPTIONS_OF_EVAL, "eval")
    with pytest.raises(SettingsError, match="test_img_shape"):
        for_verb({"test_img_shape": "[320, 640]"}, OPTIONS_OF_EVAL, "eval")


# Options that any text suits: paths, and switches, whose other values are on.
NEVER_WRONG = {"data_dir", "ckpt_path", "pretrained_backbone", "resume_yolo", "finetune_path", "is_save_on_master"}
OF_TRAINING = [alias for alias in ALIASES if alias.program == "train" and alias.new and alias.old.isidentifier()]
WRONG = [alias for alias in OF_TRAINING if alias.old not in NEVER_WRONG]


@pytest.mark.parametrize("alias", WRONG, ids=lambda alias: alias.old)
def test_an_error_names_the_option_as_typed_and_the_setting(alias, tmp_path: Path):
    with_switch = {"label_smooth": 1} if alias.old == "label_smooth_factor" else {}
    given = {"label_smooth": 1, "label_smooth_factor": "?"} if alias.old == "label_smooth" else {alias.old: "?"}
    with raises(SettingsError, alias.old, alias.new) as caught:
        resolve({**with_switch, **given})
    assert len(re.findall(rf"\b{alias.old}\b", str(caught.value))) == 1
    file = tmp_path / "mine.yaml"
    file.write_text("".join(f"{name}: '{value}'\n" for name, value in {**with_switch, **given}.items()))
    with raises(SettingsError, "mine.yaml", alias.old, alias.new, path=file):
        resolve({"file": file})


@pytest.mark.parametrize("alias", [alias for alias in ALIASES if alias.new], ids=lambda alias: alias.old)
def test_a_later_error_about_a_setting_is_told_under_the_typed_name(alias):
    error = SettingsError(f"{alias.new}: '?'", setting=alias.new, value="?")
    with raises(SettingsError, alias.old, setting=alias.new, value="?"):
        raise as_named(error, [alias.old], alias.program)
    without_field = SettingsError(f'Invalid value for "--{alias.new.replace("_", "-")}"')
    assert alias.old in str(as_named(without_field, [alias.old], alias.program)).replace("-", "_")
    if alias.new != alias.old:
        assert str(as_named(error, [alias.new], alias.program)) == str(error)  # typed as ours


def test_a_path_in_an_error_is_left_as_it_is():
    error = SettingsError("/tmp/weights/x: no such file; weights=/tmp/weights/x", setting="weights")
    assert str(as_named(error, ["ckpt_file"], "export")).endswith("ckpt_file (weights)=/tmp/weights/x")


@pytest.mark.parametrize(("verb", "old"), [("export", "ckpt_file"), ("eval", "pretrained"), ("predict", "weights")])
def test_a_missing_setting_is_named_as_in_the_document_s_form(verb: str, old: str):
    missing = SettingsError("weights: not given", setting="weights")
    assert old in str(as_named(missing, ["file_name"], verb, from_document=True))
    assert str(as_named(missing, ["file_name"], verb)) == str(missing)


def test_a_contradiction_names_the_typed_options():
    with raises(SettingsError, "max_epoch", "epochs"):
        resolve({"max_epoch": 3, "resume_epoch": 9})
