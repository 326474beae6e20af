"""Names in messages: shortened lists, the field's other spellings of options, suggestions for unknown names."""

import difflib
from collections.abc import Collection, Container, Iterable, Sequence

from lookonce.errors import SettingsError

# Spelling of other detectors and trainers -> our options of the same meaning: a verb takes the first that it has.
SAME: dict[str, str] = {
    **dict.fromkeys(("confidence", "conf", "conf_thres", "conf_thresh", "conf_threshold"), "threshold score_threshold"),
    **dict.fromkeys(("confidence_threshold", "score_thr", "score_thresh"), "threshold score_threshold"),
    **dict.fromkeys(("min_score", "thresh", "threshold", "score_threshold"), "threshold score_threshold"),
    **dict.fromkeys(("iou", "nms_iou", "iou_thres", "iou_thresh", "nms_threshold"), "iou_threshold"),
    **dict.fromkeys(("max_det", "max_dets", "top_k", "keep_top_k"), "max_detections"),
    **dict.fromkeys(("agnostic_nms", "class_agnostic", "class_agnostic_nms"), "agnostic"),
    **dict.fromkeys(("imgsz", "img_size", "input_size", "input_shape", "resolution"), "image_size"),
    **dict.fromkeys(("weights", "checkpoint", "ckpt", "model", "pretrained_weights"), "weights files"),
    **dict.fromkeys(("dataset", "data_yaml", "annotations"), "data"),
    **dict.fromkeys(("img_dir", "image_dir", "images_dir"), "images"),
    **dict.fromkeys(("class_names", "labels"), "names"),
    **dict.fromkeys(("input", "inputs"), "source"),
    **dict.fromkeys(("output", "out", "out_dir", "output_dir", "save_dir"), "output destination"),
    **dict.fromkeys(("format", "formats"), "to"),
    **dict.fromkeys(("epoch", "num_epochs", "max_epochs"), "epochs"),
    **dict.fromkeys(("batch", "batch_size", "bs"), "batch_size batch"),
    **dict.fromkeys(("lr0", "learning_rate", "base_lr", "max_lr"), "lr"),
    **dict.fromkeys(("min_lr", "lr_min"), "lr_floor"),
    **dict.fromkeys(("scheduler", "lr_schedule"), "schedule"),
    **dict.fromkeys(("warmup", "num_warmup_epochs"), "warmup_epochs"),
    **dict.fromkeys(("optim", "opt"), "optimizer"),
    **dict.fromkeys(("early_stopping", "early_stop", "early_stopping_patience"), "patience"),
    **dict.fromkeys(("max_grad_norm", "clip_grad", "clip_grad_norm", "grad_clip", "gradient_clip"), "clip_norm"),
    **dict.fromkeys(("grad_accum", "gradient_accumulation_steps", "accumulate_grad_batches"), "accumulate"),
    **dict.fromkeys(("num_workers", "threads"), "workers threads"),
    **dict.fromkeys(("num_gpus", "nproc_per_node", "world_size"), "devices"),
    **dict.fromkeys(("random_seed", "manual_seed"), "seed"),
    **dict.fromkeys(("eval_interval", "val_interval"), "eval_every"),
    **dict.fromkeys(("resume_from", "resume_from_checkpoint"), "resume"),
    "wd": "weight_decay",
    "nbs": "nominal_batch",
    "sync_batchnorm": "sync_bn",
    "opset_version": "opset",
    "fliplr": "flip",
    "hsv_h": "hue",
    "smoothing": "label_smoothing",
    "view_img": "show",
}
# Spelling -> verbs of the same purpose, and options that do the same in another way, as NAME or NAME=VALUE: suggested
# in errors, never taken.
NEAR: dict[str, str] = {
    **dict.fromkeys(("val", "validate", "test"), "eval"),
    **dict.fromkeys(("detect", "infer", "inference"), "predict"),
    "benchmark": "bench",
    "compare": "report",
    **dict.fromkeys(("gpu", "gpu_id", "cuda"), "device=cuda"),
    "gpus": "devices device=cuda",
    "amp": "precision=auto",
    "mixed_precision": "precision=auto",
    "half": "precision=fp16",
    "fp16": "precision=fp16",
    "bf16": "precision=bf16",
    "int8": "precision=int8",
    **dict.fromkeys(("project", "name", "output", "out_dir", "output_dir", "save_dir"), "runs output"),
    "exist_ok": "run overwrite",
    "config": "file",
    "cfg": "file",
    "save_txt": "save=yolo",
    "save_json": "save=json",
    "save_crop": "save=crops",
    "nosave": "images=false",
    **dict.fromkeys(("freeze", "freeze_layers", "freeze_backbone"), "freeze_stages"),
    "pretrained": "weights",
    "cos_lr": "schedule=cosine",
    "lrf": "lr_floor",
    "warmup_steps": "warmup_epochs",
    "ema": "ema_decay",
    "cache": "cache_mb",
    "save_period": "keep",
    "rect": "resize_mode=letterbox",
    "hsv_s": "saturation",
    "hsv_v": "brightness",
    "scale": "scale_min",
    "augment": "recipe",
    "box": "box_weight",
    "cls": "class_weight",
    "obj": "objectness_weight",
    "dynamic": "dynamic_size",
    "nms": "outputs=detections",
    "master_addr": "rdzv_endpoint",
    "single_cls": "rename",
    "fp32": "precision=fp32",
}


def taken_for(spelling: str, options: Container[str]) -> str | None:
    """The option that has the meaning of a spelling of SAME; None if there is none, or the spelling is an option."""
    if spelling in options:
        return None
    return next((name for name in SAME.get(spelling, "").split() if name in options), None)


def suggestion(name: str, known: Iterable[str], *, similar: bool = True) -> str:
    """ "; did you mean lr?": a synonym first, then, with `similar`, a similar name; "" if there is neither."""
    by_shape = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    shape = name.lower().replace("-", "_")
    near = next((word for word in NEAR.get(shape, "").split() if word.partition("=")[0] in by_shape), None)
    if (meant := taken_for(shape, by_shape) or near) is not None:
        return f"; did you mean {by_shape.get(meant, meant)}?"
    if not similar:
        return ""
    close = difflib.get_close_matches(shape, by_shape, n=1, cutoff=0.6)
    # learning_rat and lr share too few letters: compare with the synonyms too.
    words = {word: meant for word in SAME if (meant := taken_for(word, by_shape))}
    close = close or [words[word] for word in difflib.get_close_matches(shape, words, n=1, cutoff=0.75)]
    return f"; did you mean {by_shape[close[0]]}?" if close else ""


def require_one_of(setting: str, name: str, known: Collection[str], expected: str = "") -> None:
    """SettingsError unless the name is known; it suggests a similar one, else `expected`, by default all of them."""
    if name not in known:
        hint = suggestion(name, known) or f"; expected {expected or 'one of ' + ', '.join(known)}"
        raise SettingsError(f"{setting}: unknown {name!r}{hint}", setting=setting, value=name)


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
