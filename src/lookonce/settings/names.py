"""Names in messages: shortened lists, the field's other spellings of options, suggestions for unknown names."""

from collections.abc import Collection, Container, Iterable, Sequence
from itertools import islice
from pathlib import Path
from shlex import quote

from lookonce.errors import SettingsError

_COMPARED_NAMES = 2_000  # of a folder with a mistyped name in it; a name takes 0.05 ms

# Spelling of other detectors and trainers -> our options of the same meaning: a verb takes the first that it has.
SAME: dict[str, str] = {
    **dict.fromkeys(("confidence", "conf", "conf_thres", "conf_thresh", "conf_threshold"), "threshold score_threshold"),
    **dict.fromkeys(("confidence_threshold", "score_thr", "score_thresh"), "threshold score_threshold"),
    **dict.fromkeys(("min_score", "thr", "thresh", "threshold", "score_threshold"), "threshold score_threshold"),
    **dict.fromkeys(("confthre", "conf_thre"), "threshold score_threshold"),
    **dict.fromkeys(("iou", "nms_iou", "iou_thr", "iou_thres", "iou_thresh"), "iou_threshold"),
    **dict.fromkeys(("nms_threshold", "nms_thresh", "nms_thre", "nmsthre", "nms_thr"), "iou_threshold"),
    **dict.fromkeys(("iou_thresholds", "iou_thrs"), "iou"),
    **dict.fromkeys(("max_det", "max_dets", "top_k", "topk", "keep_top_k", "max_per_img"), "max_detections"),
    **dict.fromkeys(("agnostic_nms", "class_agnostic", "class_agnostic_nms"), "agnostic"),
    **dict.fromkeys(("imgsz", "img", "img_size", "img_shape", "input_size"), "image_size"),
    **dict.fromkeys(("input_shape", "test_size", "tsize", "resolution"), "image_size"),
    **dict.fromkeys(("weights", "checkpoint", "ckpt", "model", "pretrained_weights", "load_from"), "weights files"),
    "cfg": "files",
    **dict.fromkeys(("dataset", "data_yaml", "annotations"), "data"),
    **dict.fromkeys(("img_dir", "image_dir", "images_dir"), "images"),
    **dict.fromkeys(("class_names", "labels"), "names"),
    **dict.fromkeys(("input", "inputs"), "source"),
    **dict.fromkeys(("output", "out", "out_dir", "output_dir", "save_dir"), "output destination"),
    **dict.fromkeys(("format", "formats"), "to"),
    **dict.fromkeys(("predictions", "preds", "results_file"), "results"),
    **dict.fromkeys(("subset", "dataset_split"), "split"),
    **dict.fromkeys(("epoch", "num_epochs", "max_epochs"), "epochs"),
    **dict.fromkeys(("batch", "batch_size", "bs"), "batch_size batch"),
    **dict.fromkeys(("lr0", "learning_rate", "base_lr", "max_lr", "init_lr", "initial_lr"), "lr"),
    **dict.fromkeys(("min_lr", "lr_min"), "lr_floor"),
    **dict.fromkeys(("scheduler", "lr_schedule"), "schedule"),
    **dict.fromkeys(("warmup", "num_warmup_epochs"), "warmup_epochs"),
    **dict.fromkeys(("optim", "opt"), "optimizer"),
    **dict.fromkeys(("early_stopping", "early_stop", "early_stopping_patience"), "patience"),
    **dict.fromkeys(("max_grad_norm", "clip_grad", "clip_grad_norm", "grad_clip", "gradient_clip"), "clip_norm"),
    "gradient_clip_val": "clip_norm",
    **dict.fromkeys(("grad_accum", "gradient_accumulation_steps", "accumulate_grad_batches"), "accumulate"),
    **dict.fromkeys(("num_workers", "threads"), "workers threads"),
    **dict.fromkeys(("num_gpus", "nproc_per_node", "world_size"), "devices"),
    **dict.fromkeys(("random_seed", "manual_seed"), "seed"),
    **dict.fromkeys(("eval_interval", "val_interval"), "eval_every"),
    **dict.fromkeys(("resume_from", "resume_from_checkpoint"), "resume"),
    **dict.fromkeys(("width_multiple", "width_mult", "width_multiplier", "widen_factor"), "width"),
    **dict.fromkeys(("num_nodes", "num_machines"), "nnodes"),
    "machine_rank": "node_rank",
    "dist_url": "rdzv_endpoint",
    **dict.fromkeys(("calib", "calib_data", "calibration_data", "calibration_images"), "calibration"),
    "tile_size": "tile",
    **dict.fromkeys(("bind", "address", "listen"), "host"),
    **dict.fromkeys(("ignore", "exclude"), "skip"),
    "nc": "num_classes",
    "duration": "seconds",
    "force": "overwrite",
    "wd": "weight_decay",
    "nbs": "nominal_batch",
    "sync_batchnorm": "sync_bn",
    "opset_version": "opset",
    "fliplr": "flip",
    "hsv_h": "hue",
    "smoothing": "label_smoothing",
    "view_img": "show",
}
# Spelling -> options that do the same in another way, as NAME or NAME=VALUE, and verbs of the same purpose: suggested
# in errors, never taken.
NEAR: dict[str, str] = {
    **dict.fromkeys(("gpu", "gpu_id", "cuda"), "device=cuda"),
    "gpus": "devices device=cuda",
    "amp": "precision=auto",
    "mixed_precision": "precision=auto",
    "half": "precision=fp16",
    "fp16": "precision=fp16",
    "bf16": "precision=bf16",
    "int8": "precision=int8",
    **dict.fromkeys(("project", "output", "out_dir", "output_dir", "save_dir"), "runs output html"),
    **dict.fromkeys(("work_dir", "workdir", "log_dir", "logdir"), "runs output"),
    "name": "runs output model_names",
    "experiment_name": "name output",
    "report": "html",
    "exist_ok": "run overwrite",
    "config": "file",
    **dict.fromkeys(("cfg", "hyp", "exp_file"), "file config"),
    "save_txt": "save=yolo",
    "save_json": "save=json",
    "save_crop": "save=crops",
    "save_csv": "save=csv",
    "out_filename": "output",
    "tracker": "track",
    "overlap_ratio": "tile_overlap",
    "data": "source calibration",
    **dict.fromkeys(("path", "camid"), "source"),
    "dnn": "runtime=opencv",
    **dict.fromkeys(("map", "calc_map"), "eval_every eval"),
    **dict.fromkeys(("freeze", "freeze_layers", "freeze_backbone"), "freeze_stages"),
    "pretrained": "weights",
    "cos_lr": "schedule=cosine",
    "lrf": "lr_floor",
    "warmup_steps": "warmup_epochs",
    "ema": "ema_decay",
    "cache": "cache_mb",
    **dict.fromkeys(("save_period", "keep_checkpoint_max", "max_keep_ckpts", "save_total_limit"), "keep"),
    **dict.fromkeys(("save_interval", "save_freq", "checkpoint_every", "checkpoint_interval"), "save_every"),
    **dict.fromkeys(("val", "validate"), "eval_every eval"),
    **dict.fromkeys(("no_val", "noval", "no_validate", "no_eval"), "eval_every=0"),
    "total_batch_size": "batch_size",
    "subdivisions": "accumulate",
    "burn_in": "warmup_epochs",
    "max_batches": "epochs",
    "steps": "lr_epochs",
    "exposure": "brightness",
    "letter_box": "resize_mode=letterbox",
    **dict.fromkeys(("iterations", "iters", "repeat"), "seconds"),
    "rect": "resize_mode=letterbox",
    "hsv_s": "saturation",
    "hsv_v": "brightness",
    "scale": "scale_min",
    "augment": "recipe",
    "box": "box_weight",
    "cls": "class_weight",
    "obj": "objectness_weight",
    "dynamic": "dynamic_size",
    "dynamic_batch": "batch=0",
    "nms": "outputs=detections iou_threshold",
    "no_nms": "outputs=decoded",
    "raw": "outputs=raw",
    "target": "to",
    "include": "only to",
    **dict.fromkeys(("dtype", "data_type"), "precision"),
    **dict.fromkeys(("quantize", "quantization", "quant"), "precision=int8"),
    "task": "split",
    "master_addr": "rdzv_endpoint",
    "single_cls": "rename",
    "fp32": "precision=fp32",
    **dict.fromkeys(("evaluate", "test"), "eval"),
    **dict.fromkeys(("detect", "infer", "inference", "track"), "predict"),
    "benchmark": "bench",
    "compare": "report",
    "checks": "doctor",
    "settings": "config",
}
# Values of the same meaning, of other programs or of data sets: suggested in errors for one another, never taken.
SAME_VALUES: tuple[tuple[str, ...], ...] = (
    ("cuda", "gpu", "nvidia", "amd", "rocm", "hip"),
    ("npu", "ascend", "huawei"),
    ("xpu", "intel"),
    ("mps", "metal", "apple"),
    ("train", "training"),
    ("val", "valid", "validation", "dev", "eval", "evaluation"),
    ("test", "testing"),
    ("tensorrt", "trt", "engine"),
    ("torchscript", "jit", "script"),
    ("torch-export", "pt2", "exported_program"),
    ("coreml", "mlmodel", "mlpackage"),
    ("tflite", "litert", "lite"),
    ("executorch", "pte"),
    ("air", "om"),
    ("checkpoint", "safetensors"),
    ("onnxruntime", "onnx", "ort"),
    ("opencv", "dnn", "cv2"),
    ("pytorch", "torch", "pt"),
    ("ultralytics", "pytorch", "torch", "pt"),
    ("darknet", "weights"),
    ("mindspore", "ckpt"),
    ("yolo", "txt", "darknet", "ultralytics"),
    ("voc", "pascal", "pascal_voc", "xml"),
    ("coco", "coco_json", "json"),
    ("shards", "webdataset", "wds", "tar"),
    ("images", "image", "annotated", "jpg"),
    ("crops", "crop"),
    ("adamw", "adam"),
    ("sgd", "momentum", "nesterov"),
    ("cosine", "cos", "cosine_decay"),
    ("constant", "fixed"),
    ("leaky", "relu", "leaky_relu", "lrelu"),
    ("silu", "swish"),
    ("fp32", "float32", "float", "single"),
    ("fp16", "half", "float16"),
    ("bf16", "bfloat16"),
    ("int8", "uint8", "quantized"),
    ("finetune", "transfer"),
    ("detections", "nms", "boxes"),
    ("raw", "logits"),
    ("letterbox", "pad"),
)
PYTHON = "python"  # in place of the verb
# (Verb, spelling) -> what does the same there; NEAR is for all verbs that have the option.
ELSEWHERE: dict[tuple[str, str], str] = {
    (PYTHON, "stream"): "iterate over model.stream(source)",
    (PYTHON, "verbose"): "nothing is printed; the logger `lookonce` has the messages",
    **dict.fromkeys(
        ((PYTHON, word) for word in ("half", "fp16", "int8")),
        "lookonce.export(precision=...) writes a file in fp16 or int8",
    ),
    ("predict", "nosave"): "did you mean images=false?",
    **dict.fromkeys(
        (("predict", word) for word in ("save_result", "save_images", "save_img")),
        "annotated images are written unless --no-images is given",
    ),
    **dict.fromkeys(
        (("predict", word) for word in ("dont_show", "noshow", "no_show")), "a window opens with --show alone"
    ),
    ("predict", "ext_output"): "detections.json has the boxes, and --save csv writes them as a table",
    **dict.fromkeys((("predict", word) for word in ("mjpeg_port", "json_port")), "`lookonce serve` sends detections"),
    **dict.fromkeys(
        ((verb, word) for verb in ("predict", "eval", "bench", "serve", "page") for word in ("half", "fp16", "int8")),
        "`lookonce export --precision` writes a file in fp16 or int8",
    ),
    ("eval", "save_json"): "results.json is always written",
    ("eval", "save_txt"): "`lookonce predict --save yolo` writes label files",
    ("eval", "single_cls"): "`lookonce convert-data --rename` makes one class of several",
    ("eval", "classes"): "`lookonce convert-data --classes` keeps some classes of a data set",
    **dict.fromkeys(((verb, "plots") for verb in ("train", "eval")), "`lookonce report` draws the curves"),
    **dict.fromkeys(
        (("export", word) for word, meant in SAME.items() if meant.split()[0] in ("threshold", "iou_threshold")),
        "the file has the thresholds that are stored with the weights; predict and eval set others",
    ),
    ("train", "amp"): "did you mean precision=auto? amp=false is precision=fp32",
    **dict.fromkeys(
        (("train", word) for word in ("cfg", "exp_file")),
        "the network is YOLOv3-Tiny, which width, channels and anchors change; --file FILE reads settings of lookonce",
    ),
    ("train", "lrf"): "did you mean lr_floor? lrf is a share of lr, lr_floor a learning rate",
    ("train", "val"): "did you mean val_split? val_split=none trains without validation",
    ("train", "hyp"): "--file FILE reads settings by lookonce's names, which `lookonce config` prints",
    ("train", "fl_gamma"): "the loss has no focal term",
    ("train", "single_cls"): "`lookonce convert-data --rename` makes one class of several",
    ("train", "classes"): "`lookonce convert-data --classes` keeps some classes of a data set",
    **dict.fromkeys(
        (("serve", word) for word in ("token", "api_key", "auth_token")),
        "the environment variable LOOKONCE_TOKEN sets the token",
    ),
    **dict.fromkeys(
        (("serve", word) for word, meant in SAME.items() if meant.split()[0] in ("threshold", "iou_threshold")),
        "each request sets its threshold and iou_threshold",
    ),
}


# Setting of training -> the verbs that have such an option, where those are not train alone.
VERBS_WITH: dict[str, str] = {
    "image_size": "train, eval, predict and export (--image-size)",
    "score_threshold": "predict (--threshold) and eval (--score-threshold)",
    "iou_threshold": "predict and eval (--iou-threshold)",
    "max_detections": "predict and eval (--max-detections)",
    "batch_size": "train and eval (--batch-size)",
    "device": "train, eval, predict, bench and serve (--device)",
    "data": "train, eval and verify (--data)",
    "weights": "train, eval and predict (--weights)",
    "names": "eval, predict and export (--names)",
}


def taken_for(spelling: str, options: Container[str]) -> str | None:
    """The option that has the meaning of a spelling of SAME; None if there is none, or the spelling is an option."""
    if spelling in options:
        return None
    return next((name for name in SAME.get(spelling, "").split() if name in options), None)


def suggestion(name: str, known: Iterable[str], verb: str = "", *, similar: bool = True) -> str:
    """ "; did you mean lr?": a synonym first, then another way, then, with `similar`, a typo; "" if there is none."""
    by_shape = {candidate.lower().replace("-", "_").rstrip("_"): candidate.rstrip("_") for candidate in known}
    shape = name.lower().replace("-", "_")
    if meant := taken_for(shape, by_shape):
        return f"; did you mean {by_shape[meant]}?"
    if way := ELSEWHERE.get((verb, shape)):
        return f"; {way}"
    if near := next((word for word in NEAR.get(shape, "").split() if word.partition("=")[0] in by_shape), None):
        return f"; did you mean {by_shape.get(near, near)}?"
    if not similar:
        return ""
    # learning_rat and lr share too few letters: compare with the synonyms too, but mode is no typo of model.
    words = {word: meant for word in SAME if len(word) > 5 and (meant := taken_for(word, by_shape))}
    close = typo_of(shape, by_shape) or words.get(typo_of(shape, words))
    return f"; did you mean {by_shape[close]}?" if close else ""


def suggested_value(value: str, known: Iterable[str]) -> str:
    """ "; did you mean val?": the known value of the same meaning, or the one that it is a typo of; ""."""
    by_shape = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    shape = value.lower().replace("-", "_")
    same = (word.replace("-", "_") for words in SAME_VALUES if shape in words for word in words)
    close = shape if shape in by_shape else next(filter(by_shape.__contains__, same), "") or typo_of(shape, by_shape)
    return f"; did you mean {by_shape[close]}?" if close else ""


def suggested_path(path: Path) -> str:
    """ "; did you mean data/raccoon?": the path that exists if one typo in one of its names is corrected; ""."""
    wrong = next((one for one in (*reversed(path.parents), path) if not one.exists()), path)
    try:
        names = [entry.name for entry in islice(wrong.parent.iterdir(), _COMPARED_NAMES)]
    except OSError:
        return ""
    near = wrong.with_name(typo_of(wrong.name, names) or wrong.name) / path.relative_to(wrong)
    return f"; did you mean {quote(str(near))}?" if near.exists() else ""


def typo_of(word: str, known: Iterable[str]) -> str:
    """The known word that `word` is a typo of: one edit away, or two from seven letters on; "" if there is none."""
    most = 0 if len(word) < 3 else 1 if len(word) < 7 else 2
    edits, near = min(((num_edits(word, one), one) for one in known), default=(most + 1, ""))
    return near if edits <= most else ""


def num_edits(first: str, second: str) -> int:
    """The fewest letters to insert, delete, replace or swap with their neighbour, to make one word of the other."""
    rows = [list(range(len(second) + 1))]
    for row, letter in enumerate(first, 1):
        rows.append([row])
        for column, other in enumerate(second, 1):
            edits = [rows[-2][column] + 1, rows[-1][-1] + 1, rows[-2][column - 1] + (letter != other)]
            if min(row, column) > 1 and first[row - 2] == other and letter == second[column - 2]:
                edits.append(rows[-3][column - 2] + 1)
            rows[-1].append(min(edits))
    return rows[-1][-1]


def require_one_of(setting: str, name: str, known: Collection[str], expected: str = "") -> None:
    """SettingsError unless the name is known; it suggests a similar one, else `expected`, by default all of them."""
    if name not in known:
        hint = suggested_value(name, known) or f"; expected {expected or 'one of ' + ', '.join(known)}"
        problem = f"unknown {name!r}" if name else "an empty name"
        raise SettingsError(f"{setting}: {problem}{hint}", setting=setting, value=name)


def split_list(text: str) -> list[str]:
    """`a, b` -> ["a", "b"]: the words between commas, without empty ones."""
    return [word.strip() for word in text.split(",") if word.strip()]


def few(names: Sequence[str], most: int = 8) -> str:
    """The first `most` names, and the number of the rest."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """ "1 file", "2 files", "2 boxes"."""
    ending = "" if number == 1 else "es" if noun.endswith(("x", "s", "tch")) else "s"  # batches, but epochs
    return f"{number:,} {noun}{ending}"
