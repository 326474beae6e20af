"""The host reads nothing from the device while a step is being launched.

A CPU shows the operations that would make the host wait for an accelerator: reads of a value, shapes that depend on
values, and tensors made from Python numbers, whose copy to a device waits for all that is queued there.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from lookonce.data.loader import Batch
from lookonce.devices import HostCopy
from lookonce.model.assign import BestAnchors
from lookonce.training import engine
from lookonce.training.engine import Learner, make_scaler, train_one_epoch
from lookonce.training.finite import TrainingDiverged

MakeLearner = Callable[..., Learner]
MakeBatch = Callable[..., Batch]
WAITS = {"_local_scalar_dense", "equal", "is_nonzero", "lift_fresh", "masked_select", "nonzero", "_unique2"}


class Waits(TorchDispatchMode):
    """Counts the operations that the host would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = Counter[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.__name__.partition(".")[0]
        indices = args[1] if name in {"index", "index_put", "index_put_"} else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name in WAITS or by_mask:
            self.counted[name] += 1
        return operation(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def arrays_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `from_numpy` makes stays on the host."""
    original = torch.from_numpy

    def uncounted(array: Any) -> torch.Tensor:
        with _disable_current_modes():
            return original(array)

    monkeypatch.setattr(torch, "from_numpy", uncounted)


def modern(learner: Learner) -> Learner:
    return learner


def scaled(learner: Learner) -> Learner:
    return replace(learner, scaler=make_scaler("fp16", torch.device("cpu"), 0))


def model_zoo(learner: Learner) -> Learner:
    preprocessing = learner.options.preprocessing.model_copy(update={"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)})
    changes = {"small_box_bonus": True, "ignore_own_head_only": True, "per_object": False, "label_smoothing": 0.1}
    return replace(
        learner,
        loss=replace(learner.loss, assigner=BestAnchors(neighbours=True), box_loss="giou", **changes),
        options=replace(learner.options, preprocessing=preprocessing),
    )


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        (modern, {}),
        (modern, {"skip_nonfinite": True, "accumulate": 2, "clip_norm": 10.0}),
        (modern, {"name": "adamw", "lr": 0.001, "freeze_batchnorm": True}),
        (scaled, {"clip_norm": 10.0}),
        (model_zoo, {"ema_decay": 0.0}),
    ],
)
def test_a_step_waits_for_nothing(
    make_learner: MakeLearner, make_batch: MakeBatch, variant: Callable[[Learner], Learner], options: dict[str, Any]
) -> None:
    assert waits_of(variant(make_learner(num_batches=4, **options)), make_batch) == {}


def test_a_step_of_two_ranks_waits_for_no_more(
    make_learner: MakeLearner, make_batch: MakeBatch, in_ranks: Callable[..., list[Any]]
) -> None:
    """Except for gloo itself, whose sums a CPU waits for."""
    options = {"num_batches": 4, "accumulate": 2, "clip_norm": 10.0}
    assert in_ranks(2, lambda: waits_of(make_learner(**options), make_batch)) == [{}, {}]


def waits_of(learner: Learner, make_batch: MakeBatch) -> Counter[str]:
    waits = Waits()

    def batches() -> Iterator[Batch]:
        """The first steps make the optimizer's state and constants."""
        yield make_batch((8, 8))
        yield make_batch((32, 16))
        waits.counted.clear()
        yield make_batch((8, 8), (-1, 0))
        yield make_batch((16, 24))

    with waits:
        results = list(train_one_epoch(learner, batches(), epoch=0))
    assert results[-1].updated
    return waits.counted


def test_what_makes_the_host_wait_is_noticed() -> None:
    values = torch.arange(3.0)
    with Waits() as waits:
        float(values.sum())
        values[values > 1]
        values.new_tensor([1.0])
        values[torch.tensor([0])] = 2  # an index that is no mask
    assert waits.counted == {"_local_scalar_dense": 1, "index": 1, "lift_fresh": 2}


def test_a_result_is_read_once_the_next_batch_has_begun_or_at_once_if_asked(
    make_learner: MakeLearner, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    begin, read = engine.train_step, HostCopy.tolist

    def begun(*arguments: Any, index: int, **options: Any) -> Any:
        events.append(f"begin {index}")
        return begin(*arguments, index=index, **options)

    def was_read(copy: HostCopy) -> list[float]:
        events.append("read")
        return read(copy)

    monkeypatch.setattr(engine, "train_step", begun)
    monkeypatch.setattr(HostCopy, "tolist", was_read)
    batches = [make_batch((8, 8))] * 4
    results = list(train_one_epoch(make_learner(num_batches=4), batches, epoch=0, settle=lambda index: index == 1))
    assert events == ["begin 0", "begin 1", "read", "read", "begin 2", "begin 3", "read", "read"]
    assert [result.batch for result in results] == [0, 1, 2, 3]
    assert [result.is_newest for result in results] == [False, True, False, True]


def test_a_batch_after_one_that_is_not_finite_changes_nothing(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    """It has begun before the host knows."""
    learner = make_learner(skip_nonfinite=False)

    def batches() -> Iterator[Batch]:
        yield make_batch((8, 8))
        before.update({name: value.clone() for name, value in learner.model.state_dict().items()})
        hook = learner.model.register_forward_pre_hook(lambda _model, images: (images[0] * torch.nan,))
        yield make_batch((32, 16))
        hook.remove()
        yield make_batch((16, 24))

    before: dict[str, torch.Tensor] = {}
    with pytest.raises(TrainingDiverged) as caught:
        list(train_one_epoch(learner, batches(), epoch=0))
    assert caught.value.index == 1
    assert all(torch.equal(value, before[name]) for name, value in learner.model.state_dict().items())
    assert learner.ema is not None
    assert learner.ema.updates == 1
