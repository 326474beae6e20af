"""The edge budget: MACs and memory of each step of the network, for implementations in hardware or C."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lookonce.model.layers import INPUT, Shape, Step, live_values, num_values
from lookonce.settings.record import ModelRecord

# Bytes per value. Biases of int8 networks are int32, because they are added to sums of products.
PRECISIONS = {"fp32": 4, "fp16": 2, "int8": 1}
INT32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Budget:
    """steps in order; live: activations in memory during each; record: of the weights, None without weights."""

    steps: tuple[Step, ...]
    live: tuple[int, ...]
    size_hw: tuple[int, int]
    record: ModelRecord | None

    @property
    def macs(self) -> int:
        return sum(step.macs for step in self.steps)

    @property
    def weights(self) -> int:
        """Number of weights and biases, with BatchNorm folded in."""
        return sum(step.weights + step.biases for step in self.steps)

    @property
    def peak(self) -> tuple[Step, int]:
        """The step with the most activations in memory, and their number."""
        live, row = max((live, -row) for row, live in enumerate(self.live))
        return self.steps[-row], live

    @property
    def largest(self) -> tuple[str, Shape]:
        """Name and shape of the largest tensor, the first of equal ones; `images` is the network input."""
        tensors = [(INPUT, self.steps[0].in_shapes[0]), *((step.name, step.out_shape) for step in self.steps)]
        return max(tensors, key=lambda tensor: num_values(tensor[1]))


def budget_of(steps: Sequence[Step], size_hw: tuple[int, int], record: ModelRecord | None) -> Budget:
    return Budget(steps=tuple(steps), live=tuple(live_values(steps)), size_hw=size_hw, record=record)


def weight_bytes(step: Step, precision: str) -> int:
    """Bytes of weights and biases; for int8 with a float32 scale for each output channel."""
    if precision == "int8":
        return step.weights + 2 * INT32_BYTES * step.biases
    return (step.weights + step.biases) * PRECISIONS[precision]


def rows_of(budget: Budget) -> Iterator[dict[str, Any]]:
    """One row per step, with the columns of budget.csv."""
    for step, live in zip(budget.steps, budget.live, strict=True):
        row = {
            "name": step.name,
            "kind": step.kind,
            "inputs": " ".join(step.inputs),
            "in_shapes": " ".join(shape_text(shape) for shape in step.in_shapes),
            "out_shape": shape_text(step.out_shape),
            "kernel": step.kernel,
            "stride": step.stride,
            "activation": step.activation,
            "weights": step.weights,
            "biases": step.biases,
            "macs": step.macs,
            "out_values": step.num_outputs,
            "live_values": live,
        }
        for precision, size in PRECISIONS.items():
            row[f"weight_bytes_{precision}"] = weight_bytes(step, precision)
            row[f"out_bytes_{precision}"] = step.num_outputs * size
            row[f"live_bytes_{precision}"] = live * size
        yield row


def shape_text(shape: Shape) -> str:
    """channels x height x width."""
    return "x".join(map(str, shape))


def totals_of(budget: Budget) -> dict[str, Any]:
    """The totals at the top of budget.json."""
    peak, live = budget.peak
    largest, shape = budget.largest
    return {
        "image_size": {"height": budget.size_hw[0], "width": budget.size_hw[1]},
        "weights_and_biases": budget.weights,
        "macs": budget.macs,
        "weight_bytes": {name: sum(weight_bytes(step, name) for step in budget.steps) for name in PRECISIONS},
        "peak": {"step": peak.name, "values": live, "bytes": _bytes(live)},
        "largest_tensor": {"name": largest, "shape": list(shape), "bytes": _bytes(num_values(shape))},
    }


def _bytes(values: int) -> dict[str, int]:
    return {name: values * size for name, size in PRECISIONS.items()}
