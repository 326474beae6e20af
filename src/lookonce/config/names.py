"""Names in messages: shortened lists, and suggestions for unknown names."""

import difflib
from collections.abc import Iterable, Sequence

# Name in other trainers -> our setting. Suggested in errors, not accepted: one name per idea.
SYNONYMS = {
    "learning_rate": "lr",
    "lr0": "lr",
    "base_lr": "lr",
    "max_lr": "lr",
    "min_lr": "lr_floor",
    "imgsz": "image_size",
    "img_size": "image_size",
    "input_size": "image_size",
    "resolution": "image_size",
    "num_epochs": "epochs",
    "batch": "batch_size",
    "bs": "batch_size",
    "num_workers": "workers",
    "threads": "workers",
    "dataset": "data",
    "project": "runs",
    "output_dir": "runs",
    "output": "runs",
    "pretrained_weights": "weights",
    "checkpoint": "weights",
    "gpu": "device",
    "gpus": "device",
    "amp": "precision",
    "fliplr": "flip",
    "hsv_h": "hue",
    "hsv_s": "saturation",
    "hsv_v": "brightness",
    "nms_iou": "iou_threshold",
    "conf": "score_threshold",
    "conf_thres": "score_threshold",
    "random_seed": "seed",
    "gradient_clip": "clip_norm",
    "grad_accum": "accumulate",
    "warmup": "warmup_epochs",
    "wd": "weight_decay",
    "rect": "resize_mode",
}


def suggestion(name: str, known: Iterable[str]) -> str:
    """ "; did you mean lr?", or "" if no known name is similar."""
    by_shape = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    shape = name.lower().replace("-", "_")
    close = difflib.get_close_matches(shape, by_shape, n=1, cutoff=0.6)
    # learning_rat and lr share too few letters: compare with the synonyms too.
    words = {word: name for word, name in SYNONYMS.items() if name in by_shape}
    close = close or [words[word] for word in difflib.get_close_matches(shape, words, n=1, cutoff=0.75)]
    return f"; did you mean {by_shape[close[0]]}?" if close else ""


def few(names: Sequence[str], most: int = 8) -> str:
    """The first `most` names, and the number of the rest."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """ "1 file", "2 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
