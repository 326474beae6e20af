"""Every option of the model zoo's document: our equivalent setting, or the alternative where there is none.

An alias translates its value into our settings, or into an option of another verb. Every verb accepts every option at
the model zoo's default. Where an option has no effect, any other value raises an error that names the alternative, or
is noted; no option is ignored silently. The table of docs/modelzoo.md is generated from this one.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lookonce.errors import SettingsError

Program = Literal["train", "eval", "export", "job"]
Given = Mapping[str, Any]  # option name, as spelled in its source -> value; all options of one source
MULTI_SCALE_SIZES = tuple(range(320, 609, 32))
DEVICES = {"ascend": "npu", "gpu": "cuda", "cpu": "cpu"}
FALSE_WORDS = {"", "0", "false", "no", "off", "none", "null"}


@dataclass(frozen=True)
class Translation:
    """Model zoo options translated to our settings (or options of a verb), and notes for the user.

    spelled: our name -> the model zoo's name under which it was given.
    """

    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Alias:
    """One option of the document.

    old: its name; new: our name, "" if there is none; program: the document's program that has it; default: the
    document's, as typed; in_file: the default in its configuration file, if different; differs: the difference from
    the model zoo, for docs and error messages; translate: all given options, this one included -> its meaning in
    training, None if it has none; in_verb: all given options -> the value of option `new` of another verb, or None;
    training_only: `new` exists in other verbs too, but this option does not map to it there; has_no_effect: no value
    has an effect, and any value but the default is noted; default_holds: the default in a configuration file applies
    too, unless another source sets the option.
    """

    old: str
    new: str
    program: Program = "train"
    default: str
    in_file: str | None = None
    differs: str = ""
    translate: Callable[[Given], Translation] | None
    in_verb: Callable[[Given], str | None]
    training_only: bool = False
    has_no_effect: bool = False
    default_holds: bool = False

    @property
    def is_of_training(self) -> bool:
        """Whether training reads this option from a configuration file that all programs share."""
        return self.program == "train" or (self.program == "job" and self.translate is not None)

    def means_in(self, verb: str, options: Collection[str]) -> bool:
        """Whether it maps to one of these options of a verb; predict shares those of the document's eval.

        Not `images`, which is a folder for eval and a switch of predict.
        """
        programs = {"train", "eval" if verb == "predict" else verb}
        is_other = self.training_only or (verb == "predict" and self.new == "images")
        return self.new in options and self.program in programs and not is_other

    def is_default(self, value: Any) -> bool:
        """Whether a value equals the model zoo's default in any spelling: 0 and 0.0, text and list.

        For options without a meaning in training, an empty value counts as the default.
        """
        if self.default in {"True", "False"}:
            return is_true(value) == is_true(self.default)
        defaults = {self.default, self.default if self.in_file is None else self.in_file}
        defaults |= {""} if self.translate is None else set()
        return _plain(value) in {_plain(default) for default in defaults}

    def explained(self, value: Any) -> str:
        """Message for a verb that has no such option."""
        verb = f"lookonce {self.program}"
        if self.new:
            option = f"--{self.new.replace('_', '-')}"
            return f"{self.old}={value}: no effect here; it is an option of {verb} ({option}); pass it to {verb}"
        return f"{self.old}={value}: {self.differs}"


def is_true(value: Any) -> bool:
    """Value of a model zoo switch: 0, "0", "False", "" and None are off."""
    return str(value).strip().lower() not in FALSE_WORDS


def _plain(value: Any) -> tuple[float | str, ...]:
    """The distinct words of a value, without brackets and commas; numbers as floats if all words are numbers."""
    words = str(value).strip().lower().translate(str.maketrans("()[],;", "      ")).split()
    try:
        return tuple(dict.fromkeys(float(word) for word in words))
    except ValueError:
        return tuple(words)


def _renamed(old: str, new: str, default: str, differs: str = "", **more: Any) -> Alias:
    return Alias(
        old=old,
        new=new,
        default=default,
        differs=differs,
        translate=lambda given: Translation({new: given[old]}),
        in_verb=lambda given: str(given[old]),
        **more,
    )


def _translated(
    old: str, new: str, default: str, differs: str, translate: Callable[[Given], Translation], **more: Any
) -> Alias:
    """An option whose value has to be converted."""

    def in_verb(given: Given) -> str | None:
        value = translate(given).settings.get(new)
        return None if value is None else str(value)

    return Alias(old=old, new=new, default=default, differs=differs, translate=translate, in_verb=in_verb, **more)


def _absent(old: str, default: str, instead: str, *, program: Program = "train", harmless: Iterable[str] = ()) -> Alias:
    """An option without an equivalent: accepted at its default and `harmless` values; others raise SettingsError."""
    accepted = {default.lower(), *(value.lower() for value in harmless), ""}

    def translate(given: Given) -> Translation:
        value = given[old]
        if str(value).strip().lower() not in accepted:
            raise SettingsError(f"{old}={value}: {instead}", setting=old, value=value)
        return Translation({})

    return Alias(
        old=old, new="", program=program, default=default, differs=instead, translate=translate, in_verb=_nothing
    )


def _noted(old: str, default: str, note: str, program: Program = "train") -> Alias:
    """An option without effect; any value but the default is noted."""
    return Alias(
        old=old,
        new="",
        program=program,
        default=default,
        differs=note,
        translate=None,
        in_verb=_nothing,
        has_no_effect=True,
    )


def _elsewhere(old: str, new: str, program: Program, default: str, differs: str = "", **more: Any) -> Alias:
    """An option of another program of the document; training accepts it at its default."""
    row = Alias(
        old=old,
        new=new,
        program=program,
        default=default,
        differs=differs,
        translate=None,
        in_verb=lambda given: str(given[old]),
    )
    return replace(row, **more)


def _nothing(given: Given) -> None:
    """For options that no verb has."""


def for_verb(given: Given, options: Collection[str], verb: str, below: Given | None = None) -> Translation:
    """Model zoo options translated for a verb that does not take training settings.

    given: model zoo name -> value. options: the verb's own options, with `_`. below: options of a source with lower
    priority, for options that are read together. Options without effect on the verb are noted at their default and
    raise SettingsError at other values, as do two spellings of one option with different values.
    """
    all_given = {**(below or {}), **given}
    found: dict[str, str] = {}
    spelled: dict[str, str] = {}
    notes: list[str] = []
    idle: list[str] = []
    for old, value in given.items():
        alias = BY_OLD_NAME[old]
        if not alias.means_in(verb, options):
            if alias.is_default(value):
                idle.append(old)
            elif alias.has_no_effect or alias.new == "device":  # export, for example, runs on the CPU in any case
                notes.append(alias.explained(value))
            elif alias.new or alias.translate is None:
                raise SettingsError(alias.explained(value), setting=old, value=value)
            else:
                notes += alias.translate(given).notes  # raises SettingsError unless the value is harmless
            continue
        text = alias.in_verb(all_given)
        if text is None:
            continue
        if found.get(alias.new, text) != text:
            before = (spelled[alias.new], all_given[spelled[alias.new]])
            chosen, left = chosen_of(alias.new, before, (old, value))
            notes.append(taken_not(chosen, left))
            if chosen[0] != old:
                continue
        found[alias.new], spelled[alias.new] = text, old
    return Translation(found, (*notes, *without_effect(idle, f"lookonce {verb}")), spelled)


Option = tuple[str, Any]  # name, value


def chosen_of(name: str, first: Option, second: Option) -> tuple[Option, Option]:
    """(the option that applies, the ignored one) of two spellings of setting `name` with different values.

    An option at the model zoo's default gives way to the other. SettingsError if neither is at its default.
    """
    is_choice = [old not in BY_OLD_NAME or not BY_OLD_NAME[old].is_default(value) for old, value in (first, second)]
    if not any(is_choice):  # batch_size is an export option in the model zoo
        return (second, first) if first[0] == "batch_size" else (first, second)
    if all(is_choice):
        raise SettingsError(
            f"{first[0]}={first[1]} and {second[0]}={second[1]}: two spellings of {name} with different values; "
            "keep one",
            setting=name,
            value=second[1],
        )
    return (first, second) if is_choice[0] else (second, first)


def taken_not(chosen: Option, left: Option) -> str:
    """Note on two names of one setting with different values."""
    return f"{chosen[0]}={chosen[1]} is taken, not {left[0]}={left[1]}: both set the same setting"


def without_effect(names: Iterable[str], verb: str) -> tuple[str, ...]:
    """One note on all options that are at their default and have no effect on a verb."""
    listed = ", ".join(names)
    return (f"no effect on {verb} (at their model zoo defaults): {listed}",) if listed else ()


def _device_target(given: Given) -> Translation:
    value = given["device_target"]
    device = DEVICES.get(str(value).strip().lower())
    if device is None:
        raise SettingsError(
            f"device_target={value}: expected Ascend, GPU or CPU; or set device to auto, cuda, npu or cpu",
            setting="device_target",
            value=value,
        )
    number = str(given.get("device_id", 0)).strip()
    return Translation({"device": f"{device}:{number}" if number not in {"", "0"} and device != "cpu" else device})


def _device_id(given: Given) -> Translation:
    value = given["device_id"]
    if "device_target" in given:
        return _device_target(given)
    if str(value).strip() in {"", "0"}:
        return Translation({})
    raise SettingsError(
        f"device_id={value}: expected together with device_target; or set device, for example device=cuda:{value}",
        setting="device_id",
        value=value,
    )


def _is_distributed(given: Given) -> Translation:
    """The switch alone starts no processes: the document's own file sets it, for one device."""
    if is_true(given["is_distributed"]) and not {"group_size", "devices"} & given.keys():
        return Translation({}, ("is_distributed=1: starts no processes by itself; set devices=N, or use torchrun",))
    return Translation({})


def _training_shape(given: Given) -> Translation:
    value = given["training_shape"]
    if not is_true(value):
        return Translation({"multi_scale": given.get("multi_scale", MULTI_SCALE_SIZES)})
    return Translation({"image_size": value, "multi_scale": ()})


def _label_smooth(given: Given) -> Translation:
    factor = given.get("label_smooth_factor", 0.1)
    return Translation({"label_smoothing": factor if is_true(given["label_smooth"]) else 0})


def _label_smooth_factor(given: Given) -> Translation:
    value = given["label_smooth_factor"]
    if "label_smooth" in given:
        return _label_smooth(given)
    if _plain(value) == (0.1,):
        return Translation({})
    raise SettingsError(
        f"label_smooth_factor={value}: expected together with label_smooth=1; or set label_smoothing={value} alone",
        setting="label_smooth_factor",
        value=value,
    )


def _ckpt_interval(given: Given) -> Translation:
    value = given["ckpt_interval"]
    try:
        steps = int(str(value))
    except ValueError:
        raise SettingsError(
            f"ckpt_interval={value}: expected a whole number of batches (save_steps); -1 saves after each epoch "
            "(save_every=1)",
            setting="ckpt_interval",
            value=value,
        ) from None
    return Translation({"save_steps": steps} if steps > 0 else {"save_every": 1, "save_steps": 0})


def _factor(old: str, new: str, default: str, differs: str) -> Alias:
    """The document samples a factor between 1 and the number, or its inverse: 0.4 and 2.5 are the same range."""

    def translate(given: Given) -> Translation:
        try:
            number = float(given[old])
        except (TypeError, ValueError):
            return Translation({new: given[old]})  # the setting's own validation raises the error
        return Translation({new: 1 / number if 0 < number < 1 else number})

    return _translated(old, new, default, differs, translate)


def _anchor_scales(given: Given) -> Translation:
    """The document's list of pairs; as text also `10,13 23,27 ...` with or without brackets."""
    value = given["anchor_scales"]
    if not isinstance(value, str):
        return Translation({"anchors": value})
    numbers = value.translate(str.maketrans("()[],;", "      ")).split()
    return Translation({"anchors": [numbers[row : row + 2] for row in range(0, len(numbers), 2)]})


def _test_img_shape(given: Given) -> str:
    sides = _plain(given["test_img_shape"])
    if len(sides) != 1:
        raise SettingsError(
            f"test_img_shape={given['test_img_shape']}: expected a square size, for example [416, 416]",
            setting="test_img_shape",
            value=given["test_img_shape"],
        )
    return f"{sides[0]:g}" if isinstance(sides[0], float) else sides[0]


_SCHEDULE_DIFFERS = "also `cosine`, `linear` and `constant`, updated at every step"
_FROM_LAUNCHER = "set by the launcher for each process: `lookonce train --devices N`, or torchrun; remove it"
_NOT_OURS = "empty in the model zoo's file, and not explained in the document; remove it"

ALIASES: tuple[Alias, ...] = (
    # Paths and devices
    _renamed(
        "data_dir",
        "data",
        "/cache/data/coco2017/",
        "no default; also reads VOC and YOLO data",
        default_holds=True,
    ),
    _translated(
        "device_target",
        "device",
        "Ascend",
        "Ascend -> npu, GPU -> cuda, CPU -> cpu; default `auto` picks an accelerator if there is one",
        _device_target,
    ),
    _translated("device_id", "device", "0", "the number of the device, with device_target: `cuda:1`", _device_id),
    _renamed(
        "ckpt_path",
        "runs",
        "outputs/",
        "parent folder: each run creates a new folder in it and never overwrites one",
        default_holds=True,
    ),
    _translated(
        "ckpt_interval",
        "save_every",
        "-1",
        "-1: after each epoch; otherwise save_steps, in batches; `last` is replaced, keep=N keeps N epoch checkpoints",
        _ckpt_interval,
    ),
    _translated(
        "is_save_on_master",
        "save_on",
        "1",
        "1 -> main, 0 -> all: rank R writes into checkpoints/rank-R",
        lambda given: Translation({"save_on": "main" if is_true(given["is_save_on_master"]) else "all"}),
    ),
    _renamed("log_interval", "log_interval", "100", "batches"),
    # Starting points
    _renamed("pretrained_backbone", "backbone_weights", "", "a .ckpt file or a checkpoint"),
    _renamed(
        "resume_yolo",
        "weights",
        "",
        "as pretrained_backbone; add names=FILE for a .ckpt without class names beside it",
        training_only=True,
    ),
    _renamed("resume_epoch", "start_epoch", "0", "to resume a stopped run use resume=true"),
    _absent(
        "finetune",
        "0",
        "no switch: the classes are always the data set's; classes with the same name keep their weights, or all "
        "classes in order if the weights have no names and the number agrees",
        harmless=("1", "true", "false"),
    ),
    _renamed("finetune_path", "weights", "", "as resume_yolo", training_only=True),
    _absent("predict_path", "", "`lookonce predict IMAGES --weights W` predicts and draws", program="eval"),
    # Optimisation
    _renamed("per_batch_size", "batch_size", "32", "on each device"),
    _renamed("max_epoch", "epochs", "300"),
    _renamed("lr_scheduler", "schedule", "cosine_annealing", _SCHEDULE_DIFFERS),
    _renamed("lr", "lr", "0.001"),
    _renamed("lr_epochs", "lr_epochs", "220,250"),
    _renamed("lr_gamma", "lr_gamma", "0.1"),
    _renamed("eta_min", "lr_floor", "0"),
    _renamed("t_max", "t_max", "300", "0 means epochs; values below epochs count as epochs"),
    _renamed("warmup_epochs", "warmup_epochs", "4", "may be a fraction"),
    _renamed("weight_decay", "weight_decay", "0.016", "convolution weights only, as in the model zoo"),
    _renamed("momentum", "momentum", "0.9"),
    _renamed("loss_scale", "loss_scale", "1024", "applies to precision fp16; 0 uses dynamic loss scaling"),
    # Loss
    _translated(
        "label_smooth",
        "label_smoothing",
        "0",
        "one number: label_smooth 1 -> the value of label_smooth_factor, 0 -> 0",
        _label_smooth,
    ),
    _translated(
        "label_smooth_factor",
        "label_smoothing",
        "0.1",
        "applies only with label_smooth=1; alone, only 0.1 is accepted",
        _label_smooth_factor,
    ),
    _renamed("coord_scale", "box_weight", "4"),
    _renamed("large_scale", "stride32_weight", "4"),
    _renamed("ignore_threshold", "ignore_iou", "0.7"),
    _renamed("assignment IoU threshold", "assign_iou", "0.213", "a constant in the model zoo's code"),
    _translated(
        "anchor_scales",
        "anchors",
        "(10,14) (23,27) (37,58) (81,82) (135,169) (344,319)",
        "any six; the first three for stride 16, the last three for stride 32, as in the model zoo",
        _anchor_scales,
    ),
    _noted("num_classes", "80", "no effect; the number of classes is read from the data set"),
    _noted("out_channel", "255", "no effect; it follows from the number of classes: 3 x (5 + classes)"),
    # Images and augmentation
    _translated(
        "training_shape",
        "image_size",
        "640",
        "empty or 0 -> multi_scale with the document's sizes; otherwise multi_scale is off",
        _training_shape,
        training_only=True,
    ),
    _renamed(
        "multi_scale",
        "multi_scale",
        ",".join(map(str, MULTI_SCALE_SIZES)),
        "applies whenever training_shape is not given; empty: fixed size; also accepts [[320,320],[352,352]]",
    ),
    _renamed("resize_rate", "resize_every", "10", "batches"),
    _renamed(
        "num_parallel_workers",
        "workers",
        "8",
        "threads; `auto` fits the machine; the number does not change the samples",
    ),
    _renamed("max_box", "max_boxes", "90"),
    _renamed("jitter", "aspect_jitter", "0.3"),
    _renamed("hue", "hue", "0.015", "fraction of the colour circle"),
    _factor(
        "saturation", "saturation", "1.5", "maximum factor, the minimum is its inverse; values below 1 are inverted"
    ),
    _factor(
        "value",
        "brightness",
        "0.4",
        "maximum factor, the minimum is its inverse; values below 1 are inverted: 0.4 -> 2.5",
    ),
    # Evaluation
    _renamed("nms_thresh", "iou_threshold", "0.5", "box sizes without the model zoo's extra pixel"),
    _renamed("eval_ignore_threshold", "score_threshold", "0.001"),
    _renamed("multi_label", "multi_label", "True"),
    _noted("multi_label_thresh", "0.15", "no effect; classes are filtered by score_threshold alone"),
    _elsewhere("pretrained", "weights", "eval", ""),
    _elsewhere("log_path", "output", "eval", "outputs/"),
    _elsewhere("ann_file", "data", "eval", "", "with img_path as --images"),
    _elsewhere("img_path", "images", "eval", ""),
    _elsewhere("result_path", "results", "eval", "", "detections in COCO results format, not raw network outputs"),
    _elsewhere("testing_shape", "image_size", "eval", "640", "default: the size stored with the weights"),
    _elsewhere(
        "test_img_shape", "image_size", "eval", "[640, 640]", "a square size, as testing_shape", in_verb=_test_img_shape
    ),
    # Export
    _elsewhere("ckpt_file", "weights", "export", ""),
    _elsewhere(
        "file_name",
        "file_name",
        "export",
        "yolov3_tiny",
        "in the current folder, as in the model zoo",
        default_holds=True,
    ),
    _elsewhere(
        "file_format",
        "to",
        "export",
        "MINDIR",
        "default onnx; AIR needs Ascend hardware",
        in_verb=lambda given: str(given["file_format"]).lower(),
        default_holds=True,
    ),
    _elsewhere(
        "keep_detect",
        "outputs",
        "export",
        "True",
        "True -> decoded, False -> raw; default: `detections`, with NMS, but decoded for MINDIR",
        in_verb=lambda given: "decoded" if is_true(given["keep_detect"]) else "raw",
        default_holds=True,
    ),
    Alias(
        old="batch_size",
        new="batch",
        program="export",
        default="1",
        differs="export only: in the other verbs batch_size is lookonce's own setting",
        translate=lambda given: Translation({"batch_size": given["batch_size"]}),
        in_verb=lambda given: str(given["batch_size"]),
        default_holds=True,
    ),
    _absent("input_file", "", _NOT_OURS, program="export"),
    _absent("output_file", "", _NOT_OURS, program="export"),
    # Several devices
    Alias(
        old="is_distributed",
        new="",
        default="0",
        in_file="1",
        differs="use `--devices N` (group_size in the model zoo)",
        translate=_is_distributed,
        in_verb=_nothing,
    ),
    _absent("rank", "0", _FROM_LAUNCHER),
    _renamed("group_size", "devices", "1", "starts the processes; for several nodes add nnodes and rdzv_endpoint"),
    _renamed("need_profiler", "profile", "0", "stops after ten steps, as in the model zoo"),
    # Cloud
    _absent(
        "enable_modelarts",
        "False",
        "`lookonce train` and `lookonce eval` with this option run `lookonce job`; pass a file with it to "
        "`lookonce job --file`",
        program="job",
        harmless=("0",),
    ),
    _elsewhere(
        "data_url",
        "data_url",
        "job",
        "",
        "s3://, obs:// or a path; or the environment variable of this name; likewise the next two",
    ),
    _elsewhere("train_url", "train_url", "job", "", "results are uploaded during the run"),
    _elsewhere(
        "checkpoint_url", "checkpoint_url", "job", "", "a file, or a folder with the file that `pretrained` names"
    ),
    _elsewhere("data_path", "data_path", "job", "/cache/data", "./cache/data if there is no /cache"),
    _elsewhere("output_path", "output_path", "job", "/cache/train", "./cache/train if there is no /cache"),
    _elsewhere(
        "load_path", "load_path", "job", "/cache/checkpoint_path", "./cache/checkpoint_path if there is no /cache"
    ),
    _noted("need_modelarts_dataset_unzip", "True", "applies to cloud jobs only (lookonce job)", "job"),
    _noted(
        "modelarts_dataset_unzip_name", "coco2017", "applies to cloud jobs only, if there are several .zip files", "job"
    ),
)

BY_OLD_NAME: dict[str, Alias] = {alias.old: alias for alias in ALIASES}


def as_named(error: SettingsError, typed: Collection[str], verb: str, *, from_document: bool = False) -> SettingsError:
    """The error with the model zoo's name beside ours, for a setting that the user knows by that name.

    typed: names of all given options; from_document: whether a setting that was not given has that name too, as in
    `export.py` without ckpt_file.
    """
    known = [alias for alias in ALIASES if alias.new not in {"", alias.old} and alias.program in {"train", verb}]
    known = [alias for alias in known if alias.program == verb or not alias.training_only]
    meant = [alias for alias in known if alias.old in typed and _concerns(alias, error)]
    if not meant and from_document and error.setting not in typed:
        own = [alias for alias in known if alias.program == verb or alias.means_in(verb, {alias.new})]
        meant = [alias for alias in own if alias.new == error.setting]
    text = str(error)
    for new in dict.fromkeys(alias.new for alias in meant):
        names = [alias.old for alias in meant if alias.new == new]
        if any(_word(name).search(text) for name in names):
            continue
        both = f"{', '.join(names)} ({new})"
        text = _word(new).sub(both, text, count=1) if _word(new).search(text) else f"{both}: {text}"
    return SettingsError(text, **error.fields)


def _concerns(alias: Alias, error: SettingsError) -> bool:
    """An error without a setting concerns all settings that its message names."""
    return alias.new == error.setting if error.setting else bool(_word(alias.new).search(str(error)))


def _word(name: str) -> re.Pattern[str]:
    """A setting's name in a message, also as an option, and not as a part of a path."""
    return re.compile(rf"(?<![\w./-])(?:--)?{name.replace('_', '[_-]')}(?![\w/-])")
