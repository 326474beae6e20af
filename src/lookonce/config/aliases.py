"""Every option of the model zoo's document: which setting of ours it is, and what to do where there is none.

An alias turns the value it was given into settings of ours. An option without a counterpart is accepted at the values
that change nothing here and refused otherwise, with the way to go; none is silently ignored. docs/modelzoo.md is made
from this table.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from lookonce.errors import SettingsError

Program = Literal["train", "eval", "export", "job"]
Given = Mapping[str, Any]  # all the options of one source, as spelled there
MULTI_SCALE_SIZES = tuple(range(320, 609, 32))
DEVICES = {"ascend": "npu", "gpu": "cuda", "cpu": "cpu"}
FALSE_WORDS = {"", "0", "false", "no", "off", "none", "null"}


@dataclass(frozen=True)
class Translation:
    """What one option means: settings of ours, and notes for the user."""

    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Alias:
    """One option of the document.

    old: its name; new: our name, "" if there is none; program: which of the document's programs has it; default: the
    document's, as it would be typed; differs: what is different here, for docs and error messages; translate: all
    options of a source, this one among them -> what this one means in training; in_verb: its value -> the value of
    the option `new` of `lookonce eval` or `lookonce export`.
    """

    old: str
    new: str
    program: Program = "train"
    default: str
    differs: str = ""
    translate: Callable[[Given], Translation]
    in_verb: Callable[[str], str] = str


def is_true(value: Any) -> bool:
    """The model zoo's switches: 0, "0", "False", "" and None are off."""
    return str(value).strip().lower() not in FALSE_WORDS


def _renamed(old: str, new: str, default: str, differs: str = "") -> Alias:
    return Alias(
        old=old, new=new, default=default, differs=differs, translate=lambda given: Translation({new: given[old]})
    )


def _absent(old: str, default: str, instead: str, *, program: Program = "train", harmless: Iterable[str] = ()) -> Alias:
    """An option without a counterpart in training: accepted at `harmless` values (the default), else refused."""
    accepted = {default.lower(), *(value.lower() for value in harmless), ""}

    def translate(given: Given) -> Translation:
        value = given[old]
        if str(value).strip().lower() not in accepted:
            raise SettingsError(f"{old}={value}: {instead}", setting=old, value=value)
        return Translation({})

    return Alias(old=old, new="", program=program, default=default, differs=instead, translate=translate)


def _told(old: str, default: str, note: str, program: Program = "train") -> Alias:
    """An option that cannot change anything here, which is said each time it is given another value."""

    def translate(given: Given) -> Translation:
        changed = str(given[old]).strip() != default
        return Translation({}, (f"{old}={given[old]}: {note}",) if changed else ())

    return Alias(old=old, new="", program=program, default=default, differs=note, translate=translate)


def _elsewhere(
    old: str, new: str, program: Program, default: str, differs: str = "", *, in_verb: Callable[[str], str] = str
) -> Alias:
    """An option of another program of the document: that verb understands it, training accepts its default."""
    verb = {"eval": "lookonce eval", "export": "lookonce export", "job": "a cloud job", "train": "lookonce train"}[
        program
    ]
    instead = f"training has no such setting; it belongs to {verb}" + (f" (--{new.replace('_', '-')})" if new else "")

    def translate(given: Given) -> Translation:
        value = given[old]
        if str(value).strip().lower() not in {default.lower(), ""}:
            raise SettingsError(f"{old}={value}: {instead}", setting=old, value=value)
        return Translation({})

    return Alias(
        old=old, new=new, program=program, default=default, differs=differs, translate=translate, in_verb=in_verb
    )


def _of_job(old: str, default: str, differs: str) -> Alias:
    """An option of `lookonce job`, which training by itself accepts at its default."""
    refusing = _absent(old, default, "belongs to a cloud job: give it to lookonce job", program="job")
    return replace(refusing, new=old, differs=differs)


def _device_target(given: Given) -> Translation:
    value = given["device_target"]
    device = DEVICES.get(str(value).strip().lower())
    if device is None:
        raise SettingsError(
            f"device_target={value}: expected Ascend, GPU or CPU (or device=auto, cuda, npu, cpu)",
            setting="device_target",
            value=value,
        )
    number = str(given.get("device_id", 0)).strip()
    return Translation({"device": f"{device}:{number}" if number not in {"", "0"} else device})


def _device_id(given: Given) -> Translation:
    value = given["device_id"]
    if "device_target" in given or str(value).strip() in {"", "0"}:
        return Translation({})
    raise SettingsError(
        f"device_id={value}: say which kind of device too, for example device=cuda:{value}",
        setting="device_id",
        value=value,
    )


def _is_distributed(given: Given) -> Translation:
    value = given["is_distributed"]
    if is_true(value) and not {"group_size", "devices"} & given.keys():
        raise SettingsError(
            f"is_distributed={value}: say how many devices train together: devices=N, or group_size=N",
            setting="is_distributed",
            value=value,
        )
    return Translation({})


def _training_shape(given: Given) -> Translation:
    value = given["training_shape"]
    if not is_true(value):
        return _multi_scale(given) if "multi_scale" in given else Translation({"multi_scale": MULTI_SCALE_SIZES})
    return Translation({"image_size": value, "multi_scale": ()})


def _multi_scale(given: Given) -> Translation:
    """Sizes, or [height, width] pairs, which are square there."""
    value = given["multi_scale"]
    if isinstance(value, list):
        value = [size[0] if isinstance(size, list) and len(set(size)) == 1 else size for size in value]
    return Translation({"multi_scale": value})


def _label_smooth(given: Given) -> Translation:
    value = given["label_smooth"]
    factor = given.get("label_smooth_factor", 0.1)
    return Translation({"label_smoothing": factor if is_true(value) else 0})


def _label_smooth_factor(given: Given) -> Translation:
    value = given["label_smooth_factor"]
    if "label_smooth" in given or str(value).strip() == "0.1":
        return Translation({})
    raise SettingsError(
        f"label_smooth_factor={value}: has an effect only with label_smooth=1; or set label_smoothing={value} alone",
        setting="label_smooth_factor",
        value=value,
    )


def _ckpt_interval(given: Given) -> Translation:
    value = given["ckpt_interval"]
    try:
        steps = int(str(value))
    except ValueError:
        raise SettingsError(
            f"ckpt_interval={value}: expected a whole number; -1 saves after each epoch",
            setting="ckpt_interval",
            value=value,
        ) from None
    return Translation({"save_steps": steps} if steps > 0 else {"save_every": 1, "save_steps": 0})


def _factor(old: str, new: str, default: str, differs: str) -> Alias:
    """The document draws a factor between 1 and the number, or 1 over that: 0.4 and 2.5 are the same range."""

    def translate(given: Given) -> Translation:
        try:
            number = float(given[old])
        except (TypeError, ValueError):
            return Translation({new: given[old]})  # refused with the setting's own message
        return Translation({new: 1 / number if 0 < number < 1 else number})

    return Alias(old=old, new=new, default=default, differs=differs, translate=translate)


def _anchor_scales(given: Given) -> Translation:
    """The document's is a list of pairs; as text also `10,13 23,27 ...` with or without brackets."""
    value = given["anchor_scales"]
    if not isinstance(value, str):
        return Translation({"anchors": value})
    numbers = value.translate(str.maketrans("()[],;", "      ")).split()
    return Translation({"anchors": [numbers[row : row + 2] for row in range(0, len(numbers), 2)]})


_SCHEDULE_DIFFERS = "also `cosine`, `linear` and `constant`, which move at every step"
_FROM_LAUNCHER = "each process is told by who starts it: `lookonce train --devices N`, or torchrun; leave it out"

ALIASES: tuple[Alias, ...] = (
    # Where things are
    _renamed("data_dir", "data", "/cache/data/coco2017/", "has no default; takes VOC and YOLO data too"),
    Alias(
        old="device_target",
        new="device",
        default="Ascend",
        differs="Ascend -> npu, GPU -> cuda, CPU -> cpu; default `auto` takes an accelerator if there is one",
        translate=_device_target,
        in_verb=lambda value: DEVICES.get(value.lower(), value.lower()),
    ),
    Alias(
        old="device_id",
        new="device",
        program="export",
        default="0",
        differs="the number behind the device: `cuda:1`; device_target is then not needed",
        translate=_device_id,
        in_verb=lambda value: f"cuda:{value}",
    ),
    _renamed("ckpt_path", "runs", "outputs/", "each run makes a folder of its own in it, never overwritten"),
    Alias(
        old="ckpt_interval",
        new="save_every",
        default="-1",
        differs="-1: after each epoch; else save_steps, batches; `last` is replaced, keep=N keeps those of N epochs",
        translate=_ckpt_interval,
    ),
    Alias(
        old="is_save_on_master",
        new="save_on",
        default="1",
        differs="1 -> main, 0 -> all, where rank R writes into checkpoints/rank-R",
        translate=lambda given: Translation({"save_on": "main" if is_true(given["is_save_on_master"]) else "all"}),
    ),
    _renamed("log_interval", "log_interval", "100", "batches"),
    # Starting points
    _renamed("pretrained_backbone", "backbone_weights", "", "a .ckpt as it is, or a checkpoint"),
    _renamed("resume_yolo", "weights", "", "as pretrained_backbone"),
    _renamed("resume_epoch", "start_epoch", "0", "a run that was stopped goes on by itself: resume=true"),
    _absent(
        "finetune",
        "0",
        "no switch: the class list is always the data set's; classes that the weights know by name are taken over",
        harmless=("1", "true", "false"),
    ),
    _renamed("finetune_path", "weights", "", "as resume_yolo"),
    _absent(
        "predict_path", "", "`lookonce predict` draws as it predicts; give it pictures and weights", program="eval"
    ),
    # Optimisation
    _renamed("per_batch_size", "batch_size", "32", "on each device"),
    _renamed("max_epoch", "epochs", "300"),
    _renamed("lr_scheduler", "schedule", "cosine_annealing", _SCHEDULE_DIFFERS),
    _renamed("lr", "lr", "0.001"),
    _renamed("lr_epochs", "lr_epochs", "220,250"),
    _renamed("lr_gamma", "lr_gamma", "0.1"),
    _renamed("eta_min", "lr_floor", "0"),
    _renamed("t_max", "t_max", "300", "0 means epochs; less than epochs counts as epochs"),
    _renamed("warmup_epochs", "warmup_epochs", "4", "may be a fraction"),
    _renamed("weight_decay", "weight_decay", "0.016", "convolution weights only, as there"),
    _renamed("momentum", "momentum", "0.9"),
    _renamed("loss_scale", "loss_scale", "1024", "acts with precision fp16; 0 finds the scale by itself"),
    # Loss
    Alias(
        old="label_smooth",
        new="label_smoothing",
        default="0",
        differs="switch and strength are one number: 1 -> label_smooth_factor, 0 -> 0",
        translate=_label_smooth,
    ),
    Alias(
        old="label_smooth_factor",
        new="label_smoothing",
        default="0.1",
        differs="counts only with label_smooth=1; alone and not 0.1 it is refused",
        translate=_label_smooth_factor,
    ),
    _renamed("coord_scale", "box_weight", "4"),
    _renamed("large_scale", "stride32_weight", "4"),
    _renamed("ignore_threshold", "ignore_iou", "0.7"),
    _renamed("assignment IoU threshold", "assign_iou", "0.213", "a constant in the original's code"),
    Alias(
        old="anchor_scales",
        new="anchors",
        default="(10,14) (23,27) (37,58) (81,82) (135,169) (344,319)",
        differs="any six; first three stride 16, last three stride 32, as there",
        translate=_anchor_scales,
    ),
    _told("num_classes", "80", "has no effect, the number of classes is read from the data set"),
    # Pictures
    Alias(
        old="training_shape",
        new="image_size",
        default="640",
        differs="falsy -> multi_scale with the document's sizes; else multi_scale is off",
        translate=_training_shape,
    ),
    Alias(
        old="multi_scale",
        new="multi_scale",
        default="320,352,...,608",
        differs="in force as soon as it is given without training_shape; empty: fixed size",
        translate=_multi_scale,
    ),
    _renamed("resize_rate", "resize_every", "10", "batches"),
    _renamed(
        "num_parallel_workers", "workers", "8", "threads; `auto` fits the machine; any number gives the same pictures"
    ),
    _renamed("max_box", "max_boxes", "90"),
    _renamed("jitter", "aspect_jitter", "0.3"),
    _renamed("hue", "hue", "0.015", "part of the colour circle"),
    _factor("saturation", "saturation", "1.5", "largest factor, the least is 1 / it; under 1 it is turned over"),
    _factor("value", "brightness", "0.4", "largest factor, the least is 1 / it; under 1 it is turned over: 0.4 -> 2.5"),
    # Evaluation
    _renamed("nms_thresh", "iou_threshold", "0.5", "boxes without the original's extra pixel"),
    _renamed("eval_ignore_threshold", "score_threshold", "0.001"),
    _absent("multi_label", "True", "a box may always have several classes; leave it out"),
    _told("multi_label_thresh", "0.15", "has no effect, classes pass by their score alone"),
    _elsewhere("pretrained", "weights", "eval", ""),
    _elsewhere("log_path", "output", "eval", "outputs/"),
    _elsewhere("ann_file", "data", "eval", "", "with img_path as --images"),
    _elsewhere("img_path", "images", "eval", ""),
    _elsewhere("result_path", "results", "eval", "", "predictions in COCO results format, not raw network outputs"),
    _elsewhere("testing_shape", "image_size", "eval", "640", "without it the size that the weights were trained at"),
    _elsewhere(
        "test_img_shape",
        "image_size",
        "eval",
        "[640, 640]",
        "a square, as testing_shape",
        in_verb=lambda value: value.strip("[]() ").split(",")[0],
    ),
    # Export
    _elsewhere("ckpt_file", "weights", "export", ""),
    _elsewhere("file_name", "output", "export", "yolov3_tiny"),
    _elsewhere("file_format", "to", "export", "MINDIR", "default onnx; AIR needs Ascend hardware", in_verb=str.lower),
    _elsewhere(
        "keep_detect",
        "outputs",
        "export",
        "True",
        "True -> decoded, False -> raw; default `detections` adds NMS",
        in_verb=lambda value: "decoded" if is_true(value) else "raw",
    ),
    Alias(
        old="batch_size",
        new="batch",
        program="export",
        default="1",
        differs="of export only: with the other verbs batch_size is lookonce's own setting",
        translate=lambda given: Translation({"batch_size": given["batch_size"]}),
    ),
    # Several devices
    Alias(
        old="is_distributed",
        new="",
        default="0",
        differs="`--devices N` (there: group_size) is enough",
        translate=_is_distributed,
    ),
    _absent("rank", "0", _FROM_LAUNCHER),
    _renamed("group_size", "devices", "1", "starts the processes itself; several machines: nnodes and rdzv_endpoint"),
    _renamed("need_profiler", "profile", "0", "stops after ten steps, as there"),
    # Cloud
    _absent(
        "enable_modelarts",
        "False",
        "typed after `lookonce train` or `lookonce eval` it makes them `lookonce job`; a file that says so goes to "
        "`lookonce job --file`",
        program="job",
        harmless=("0",),
    ),
    _of_job("data_url", "", "s3://, obs:// or a path; or the environment variable; so are the next two"),
    _of_job("train_url", "", "results are sent while they are made"),
    _of_job("checkpoint_url", "", "a file, or a folder: then `pretrained` names the file in it"),
    _of_job("data_path", "/cache/data", "./cache/data where there is no /cache"),
    _of_job("output_path", "/cache/train", "./cache/train where there is no /cache"),
    _of_job("load_path", "/cache/checkpoint_path", "./cache/checkpoint_path where there is no /cache"),
    _told("need_modelarts_dataset_unzip", "True", "counts in a cloud job only (lookonce job)", "job"),
    _told("modelarts_dataset_unzip_name", "coco2017", "counts in a cloud job only, if it has several .zip", "job"),
)

BY_OLD_NAME: dict[str, Alias] = {alias.old: alias for alias in ALIASES}
