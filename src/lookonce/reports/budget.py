"""The edge budget of `lookonce info` as a table, as lines of text and as files; model/budget.py computes it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from lookonce.settings.record import ModelRecord
from lookonce.shown import csv_text, to_json
from lookonce.storage import write_file

Rows = Sequence[Mapping[str, Any]]  # one per step of the network, in order
KIB = 1024
TABLE_WIDTH = 118  # columns of text; a narrower terminal wraps lines, which is better than truncated numbers


def table_of(rows: Rows) -> Table:
    """The table for the terminal. KiB are for int8; fp16 takes twice, fp32 four times as much."""
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "kind", "reads"):
        table.add_column(heading, no_wrap=True)
    for heading in ("output", "weights", "million MACs", "KiB weights", "KiB output", "KiB live"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        size = f" {row['kernel']}x{row['kernel']}" if row["kernel"] > 1 or row["kind"] == "conv" else ""
        stride = f" /{row['stride']}" if row["kind"] == "max pool" else ""
        kind = f"{row['kind']}{size}{stride}{', ' if row['activation'] else ''}{row['activation']}"
        kibs = (f"{row[f'{part}_bytes_int8'] / KIB:,.1f}" for part in ("weight", "out", "live"))
        macs = f"{row['macs'] / 1e6:,.1f}" if row["macs"] else ""
        weights = f"{row['weights']:,}" if row["weights"] else ""
        table.add_row(row["name"], kind, row["inputs"].replace(" ", ", "), row["out_shape"], weights, macs, *kibs)
    return table


def lines_of(totals: Mapping[str, Any]) -> Iterator[str]:
    size = totals["image_size"]
    yield (
        f"{totals['weights_and_biases']:,} weights and biases (BatchNorm folded in), "
        f"{totals['macs'] / 1e9:.3f} billion MACs for an image of {size['width']}x{size['height']}"
    )
    yield f"weights     {_sizes(totals['weight_bytes'])}"
    yield f"peak        {_sizes(totals['peak']['bytes'])} of activations, in {totals['peak']['step']}"
    largest = totals["largest_tensor"]
    shape = "x".join(map(str, largest["shape"]))
    yield f"largest     {_sizes(largest['bytes'])}: the output of {largest['name']}, {shape}"


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{size / KIB:,.0f} KiB {name}" for name, size in sizes.items())


def write_budget(
    rows: Rows, totals: Mapping[str, Any], record: ModelRecord | None, scales: Mapping[str, Any] | None, folder: Path
) -> list[Path]:
    """Writes budget.csv, budget.json and, with scales, int8-scales.json; returns their paths."""
    described = None if record is None else record.model_dump(mode="json")
    content = {**totals, "steps": rows, "record": described}
    files = {"budget.csv": csv_text(rows), "budget.json": to_json(content, indent=1) + "\n"}
    if scales is not None:
        files["int8-scales.json"] = json.dumps(scales, indent=1) + "\n"
    for name, part in files.items():
        write_file(folder / name, part)
    return [folder / name for name in files]
