"""Every option of the model zoo's document: which setting of ours it is, and what to do where there is none.

An alias turns the value it was given into settings of ours, or into an option of another verb. Every verb accepts
every option at the original's default; where an option means nothing, another value is refused with the way to go, and
none is silently ignored. The table of docs/modelzoo.md is made from this one.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lookonce.errors import SettingsError

Program = Literal["train", "eval", "export", "job"]
Given = Mapping[str, Any]  # all the options of one source, as spelled there
MULTI_SCALE_SIZES = tuple(range(320, 609, 32))
DEVICES = {"ascend": "npu", "gpu": "cuda", "cpu": "cpu"}
FALSE_WORDS = {"", "0", "false", "no", "off", "none", "null"}


@dataclass(frozen=True)
class Translation:
    """What options of the model zoo mean: settings (or options of a verb) by our names, and notes for the user.

    spelled: our name -> the old name that it was given by.
    """

    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Alias:
    """One option of the document.

    old: its name; new: our name, "" if there is none; program: which of the document's programs has it; default: the
    document's, as it would be typed; in_file: that of its configuration file where it is another; differs: what is
    different here, for docs and error messages; translate: all options given, this one among them -> what this one
    means in training, None if it means nothing there; in_verb: likewise -> the value of the option `new` of another
    verb, None for none; training_only: `new` is an option of other verbs too, but this does not mean it there;
    has_no_effect: no value changes anything, and another than the default is told; default_holds: in a configuration
    file the default counts too, where nothing else says it.
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
        """Whether training looks at it in a file that tells all programs: enable_modelarts says who is to train."""
        return self.program == "train" or (self.program == "job" and self.translate is not None)

    def means_in(self, verb: str, options: Collection[str]) -> bool:
        """Whether it stands for one of these options of a verb; predict shares those of the document's eval."""
        programs = {"train", "eval" if verb == "predict" else verb}
        return self.new in options and self.program in programs and not self.training_only

    def is_default(self, value: Any) -> bool:
        """Whether a value is the original's default, however it is written: 0 and 0.0, text and list.

        An option that training knows nothing of is not given when it is empty.
        """
        if self.default in {"True", "False"}:
            return is_true(value) == is_true(self.default)
        defaults = {self.default, self.default if self.in_file is None else self.in_file}
        defaults |= {""} if self.translate is None else set()
        return _plain(value) in {_plain(default) for default in defaults}

    def explained(self, value: Any) -> str:
        """For whoever gave it to a verb that has no such option."""
        verb = f"lookonce {self.program}"
        if self.new:
            option = f"--{self.new.replace('_', '-')}"
            return f"{self.old}={value}: an option of {verb} ({option}), without effect here; give it to {verb}"
        return f"{self.old}={value}: {self.differs}"


def is_true(value: Any) -> bool:
    """The model zoo's switches: 0, "0", "False", "" and None are off."""
    return str(value).strip().lower() not in FALSE_WORDS


def _plain(value: Any) -> tuple[float | str, ...]:
    """The words of a value without brackets and commas, each once, numbers as numbers."""
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
    """An option that means something else than its value under another name."""

    def in_verb(given: Given) -> str | None:
        value = translate(given).settings.get(new)
        return None if value is None else str(value)

    return Alias(old=old, new=new, default=default, differs=differs, translate=translate, in_verb=in_verb, **more)


def _absent(old: str, default: str, instead: str, *, program: Program = "train", harmless: Iterable[str] = ()) -> Alias:
    """An option without a counterpart: accepted at `harmless` values (the default), else refused with the way to go."""
    accepted = {default.lower(), *(value.lower() for value in harmless), ""}

    def translate(given: Given) -> Translation:
        value = given[old]
        if str(value).strip().lower() not in accepted:
            raise SettingsError(f"{old}={value}: {instead}", setting=old, value=value)
        return Translation({})

    return Alias(
        old=old, new="", program=program, default=default, differs=instead, translate=translate, in_verb=_nothing
    )


def _told(old: str, default: str, note: str, program: Program = "train") -> Alias:
    """An option that cannot change anything here, which is said each time it is given another value."""
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
    """An option of another program of the document, which training accepts at its default."""
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
    """An option that no verb has."""


def for_verb(given: Given, options: Collection[str], verb: str, below: Given | None = None) -> Translation:
    """What options of the model zoo mean in a verb that is not told settings of training.

    given: old name -> value. options: the names of the verb's own, with `_`. below: what a source that gives way has
    said, for options that go together. Those that mean nothing to the verb are noted at their default; SettingsError
    explains them at another value, and names two that contradict each other.
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
            elif alias.has_no_effect or alias.new == "device":  # export, say, works on the processor whatever it says
                notes.append(alias.explained(value))
            elif alias.new or alias.translate is None:
                raise SettingsError(alias.explained(value), setting=old, value=value)
            else:
                notes += alias.translate(given).notes  # or refused with the way to go
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
    """Of two spellings of the setting `name` with different values the one that counts, and the one that is left.

    One that stands at the original's default is no choice. SettingsError if both are choices.
    """
    is_choice = [old not in BY_OLD_NAME or not BY_OLD_NAME[old].is_default(value) for old, value in (first, second)]
    if not any(is_choice):  # batch_size, which is the export's there
        return (second, first) if first[0] == "batch_size" else (first, second)
    if all(is_choice):
        raise SettingsError(
            f"{first[0]}={first[1]} and {second[0]}={second[1]} are two spellings of {name} with different values; "
            "keep one",
            setting=name,
            value=second[1],
        )
    return (first, second) if is_choice[0] else (second, first)


def taken_not(chosen: Option, left: Option) -> str:
    """The note on two names for one setting."""
    return f"{chosen[0]}={chosen[1]} is taken, not {left[0]}={left[1]}: two names for one setting"


def without_effect(names: Iterable[str], verb: str) -> tuple[str, ...]:
    """One note on all options that stand at their default and mean nothing to a verb."""
    listed = ", ".join(names)
    return (f"without effect on {verb}, and at their default: {listed}",) if listed else ()


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
    return Translation({"device": f"{device}:{number}" if number not in {"", "0"} and device != "cpu" else device})


def _device_id(given: Given) -> Translation:
    value = given["device_id"]
    if "device_target" in given:
        return _device_target(given)
    if str(value).strip() in {"", "0"}:
        return Translation({})
    raise SettingsError(
        f"device_id={value}: say which kind of device too, for example device=cuda:{value}",
        setting="device_id",
        value=value,
    )


def _is_distributed(given: Given) -> Translation:
    """The switch alone starts nothing: the document's own file has it on, for one device."""
    if is_true(given["is_distributed"]) and not {"group_size", "devices"} & given.keys():
        return Translation({}, ("is_distributed=1: starts no processes by itself; devices=N does, or torchrun",))
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


def _is_save_on_master(given: Given) -> Translation:
    return Translation({"save_on": "main" if is_true(given["is_save_on_master"]) else "all"})


def _factor(old: str, new: str, default: str, differs: str) -> Alias:
    """The document draws a factor between 1 and the number, or 1 over that: 0.4 and 2.5 are the same range."""

    def translate(given: Given) -> Translation:
        try:
            number = float(given[old])
        except (TypeError, ValueError):
            return Translation({new: given[old]})  # refused with the setting's own message
        return Translation({new: 1 / number if 0 < number < 1 else number})

    return _translated(old, new, default, differs, translate)


def _anchor_scales(given: Given) -> Translation:
    """The document's is a list of pairs; as text also `10,13 23,27 ...` with or without brackets."""
    value = given["anchor_scales"]
    if not isinstance(value, str):
        return Translation({"anchors": value})
    numbers = value.translate(str.maketrans("()[],;", "      ")).split()
    return Translation({"anchors": [numbers[row : row + 2] for row in range(0, len(numbers), 2)]})


def _test_img_shape(given: Given) -> str:
    sides = _plain(given["test_img_shape"])
    if len(sides) != 1:
        raise SettingsError(
            f"test_img_shape={given['test_img_shape']}: expected a square, for example [416, 416]",
            setting="test_img_shape",
            value=given["test_img_shape"],
        )
    return f"{sides[0]:g}" if isinstance(sides[0], float) else sides[0]


_SCHEDULE_DIFFERS = "also `cosine`, `linear` and `constant`, which move at every step"
_FROM_LAUNCHER = "each process is told by who starts it: `lookonce train --devices N`, or torchrun; leave it out"
_NOT_OURS = "the original's file has it, empty, and the document does not say what for; leave it out"

ALIASES: tuple[Alias, ...] = (
    # Where things are
    _renamed(
        "data_dir",
        "data",
        "/cache/data/coco2017/",
        "has no default; takes VOC and YOLO data too",
        default_holds=True,
    ),
    _translated(
        "device_target",
        "device",
        "Ascend",
        "Ascend -> npu, GPU -> cuda, CPU -> cpu; default `auto` takes an accelerator if there is one",
        _device_target,
    ),
    _translated("device_id", "device", "0", "the number behind the device, with device_target: `cuda:1`", _device_id),
    _renamed(
        "ckpt_path",
        "runs",
        "outputs/",
        "each run makes a folder of its own in it, never overwritten",
        default_holds=True,
    ),
    _translated(
        "ckpt_interval",
        "save_every",
        "-1",
        "-1: after each epoch; else save_steps, batches; `last` is replaced, keep=N keeps those of N epochs",
        _ckpt_interval,
    ),
    _translated(
        "is_save_on_master",
        "save_on",
        "1",
        "1 -> main, 0 -> all, where rank R writes into checkpoints/rank-R",
        _is_save_on_master,
    ),
    _renamed("log_interval", "log_interval", "100", "batches"),
    # Starting points
    _renamed("pretrained_backbone", "backbone_weights", "", "a .ckpt as it is, or a checkpoint"),
    _renamed(
        "resume_yolo",
        "weights",
        "",
        "as pretrained_backbone; names=FILE where a .ckpt has no names beside it",
        training_only=True,
    ),
    _renamed("resume_epoch", "start_epoch", "0", "a run that was stopped goes on by itself: resume=true"),
    _absent(
        "finetune",
        "0",
        "no switch: the class list is always the data set's; classes that the weights know by name are taken over, as "
        "many in their order where they have none",
        harmless=("1", "true", "false"),
    ),
    _renamed("finetune_path", "weights", "", "as resume_yolo", training_only=True),
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
    _translated(
        "label_smooth",
        "label_smoothing",
        "0",
        "switch and strength are one number: 1 -> label_smooth_factor, 0 -> 0",
        _label_smooth,
    ),
    _translated(
        "label_smooth_factor",
        "label_smoothing",
        "0.1",
        "counts only with label_smooth=1; alone and not 0.1 it is refused",
        _label_smooth_factor,
    ),
    _renamed("coord_scale", "box_weight", "4"),
    _renamed("large_scale", "stride32_weight", "4"),
    _renamed("ignore_threshold", "ignore_iou", "0.7"),
    _renamed("assignment IoU threshold", "assign_iou", "0.213", "a constant in the original's code"),
    _translated(
        "anchor_scales",
        "anchors",
        "(10,14) (23,27) (37,58) (81,82) (135,169) (344,319)",
        "any six; first three stride 16, last three stride 32, as there",
        _anchor_scales,
    ),
    _told("num_classes", "80", "has no effect, the number of classes is read from the data set"),
    _told("out_channel", "255", "has no effect, it follows from the number of classes: 3 x (5 + classes)"),
    # Pictures
    _translated(
        "training_shape",
        "image_size",
        "640",
        "falsy -> multi_scale with the document's sizes; else multi_scale is off",
        _training_shape,
        training_only=True,
    ),
    _renamed(
        "multi_scale",
        "multi_scale",
        ",".join(map(str, MULTI_SCALE_SIZES)),
        "in force as soon as it is given without training_shape; empty: fixed size; also [[320,320],[352,352]]",
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
    _renamed("multi_label", "multi_label", "True"),
    _told("multi_label_thresh", "0.15", "has no effect, classes pass by their score alone"),
    _elsewhere("pretrained", "weights", "eval", ""),
    _elsewhere("log_path", "output", "eval", "outputs/"),
    _elsewhere("ann_file", "data", "eval", "", "with img_path as --images"),
    _elsewhere("img_path", "images", "eval", ""),
    _elsewhere("result_path", "results", "eval", "", "predictions in COCO results format, not raw network outputs"),
    _elsewhere("testing_shape", "image_size", "eval", "640", "without it the size that the weights were trained at"),
    _elsewhere(
        "test_img_shape", "image_size", "eval", "[640, 640]", "a square, as testing_shape", in_verb=_test_img_shape
    ),
    # Export
    _elsewhere("ckpt_file", "weights", "export", ""),
    _elsewhere(
        "file_name", "file_name", "export", "yolov3_tiny", "in the current folder, as there", default_holds=True
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
        "True -> decoded, False -> raw; default: `detections`, with NMS, and for MINDIR decoded",
        in_verb=lambda given: "decoded" if is_true(given["keep_detect"]) else "raw",
        default_holds=True,
    ),
    Alias(
        old="batch_size",
        new="batch",
        program="export",
        default="1",
        differs="of export only: with the other verbs batch_size is lookonce's own setting",
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
        differs="`--devices N` (there: group_size) is enough",
        translate=_is_distributed,
        in_verb=_nothing,
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
    _elsewhere(
        "data_url", "data_url", "job", "", "s3://, obs:// or a path; or the environment variable; so are the next two"
    ),
    _elsewhere("train_url", "train_url", "job", "", "results are sent while they are made"),
    _elsewhere(
        "checkpoint_url", "checkpoint_url", "job", "", "a file, or a folder: then `pretrained` names the file in it"
    ),
    _elsewhere("data_path", "data_path", "job", "/cache/data", "./cache/data where there is no /cache"),
    _elsewhere("output_path", "output_path", "job", "/cache/train", "./cache/train where there is no /cache"),
    _elsewhere(
        "load_path", "load_path", "job", "/cache/checkpoint_path", "./cache/checkpoint_path where there is no /cache"
    ),
    _told("need_modelarts_dataset_unzip", "True", "counts in a cloud job only (lookonce job)", "job"),
    _told("modelarts_dataset_unzip_name", "coco2017", "counts in a cloud job only, if it has several .zip", "job"),
)

BY_OLD_NAME: dict[str, Alias] = {alias.old: alias for alias in ALIASES}
