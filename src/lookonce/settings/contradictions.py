"""Settings that contradict each other, though each is valid by itself."""

from collections.abc import Callable
from typing import Any

# Setting, whether its value contradicts the others, and what is expected, with values of settings in braces.
CONTRADICTIONS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("scale_min", lambda s: s.scale_min > s.scale_max, "expected at most scale_max ({scale_max:g}); swap the two"),
    ("lr_floor", lambda s: s.lr_floor > s.lr, "expected at most the peak lr ({lr:g}); lower lr_floor"),
    ("start_epoch", lambda s: 0 < s.epochs <= s.start_epoch, "expected less than epochs ({epochs}); raise epochs"),
    (
        "patience",
        lambda s: s.patience > 0 and not s.eval_every,
        "early stopping needs evaluations, but eval_every is 0; set eval_every=1",
    ),
    (
        "nominal_batch",
        lambda s: s.nominal_batch > 0 and s.accumulate > 1,
        "accumulate={accumulate} sets gradient accumulation too; keep one of them",
    ),
    (
        "freeze_stages",
        lambda s: s.freeze_stages > 0 and not (s.weights or s.backbone_weights),
        "expected loaded weights, random ones would stay frozen; set weights or backbone_weights too",
    ),
    (
        "weights",
        lambda s: str(s.weights) in {"random", "scratch"} and not s.weights.exists(),
        "training starts from random weights where it is given none; leave weights out",
    ),
    (
        "names",
        lambda s: s.names is not None and not s.weights,
        "expected together with weights, whose classes it names; set weights too",
    ),
    (
        "nnodes",
        lambda s: s.nnodes != "1" and not s.rdzv_endpoint,
        "several nodes need a rendezvous; set rdzv_endpoint to host:port of node 0",
    ),
    (
        "assignment",
        lambda s: s.assignment == "neighbours" and s.dialect != "ultralytics",
        "box centres cannot leave their cell in dialect {dialect}; set dialect=ultralytics",
    ),
)
