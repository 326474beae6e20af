"""What each choice of recipe `modern` is worth: one factor changed at a time, several seeds, the same pictures seen.

    python benchmarks/ablation.py run --bccd PATH/TO/bccd --results benchmarks/results/ablation.jsonl
    python benchmarks/ablation.py page --results benchmarks/results/ablation.jsonl --page docs/recipes.md

`run` trains whatever the results file does not hold yet and appends one JSON line a training, so that it can be
stopped and started at will; two cannot work on one file at once. The synthetic data set is made in --work on the first
use. The defaults (a quarter of the channels, 192 pixels, 12 epochs) take about a minute a training on one core: they
rank choices for a small network that is trained briefly, and are no scores to quote for the full one.

`page` puts the tables between the page's two marks. A row's score is COCO's AP on the validation split after the last
epoch; its difference from `modern` is taken seed by seed, as runs of one seed begin alike and see the same pictures.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEEDS = (0, 1, 2)
SYNTHETIC_IMAGES = {"train": 200, "val": 80}


@dataclass(frozen=True)
class Row:
    """One line of the table. changes: settings that differ from recipe `modern`."""

    name: str
    group: str
    changes: Mapping[str, Any]


# In the order in which they are trained: what decides most comes first.
FITTED = {"recipe": "modelzoo", "batch_size": 4, "warmup_epochs": 1, "t_max": 0}
ROWS = (
    Row("modern", "recipe", {}),
    Row("modelzoo, as it is", "recipe", {"recipe": "modelzoo"}),
    Row("modelzoo, fitted to the run", "recipe", FITTED),
    Row("best_anchors", "assignment", {"assignment": "best_anchors"}),
    Row("neighbours", "assignment", {"assignment": "neighbours"}),
    Row("1", "objectness target", {"objectness_target": "one"}),
    Row("giou", "box loss", {"box_loss": "giou"}),
    Row("diou", "box loss", {"box_loss": "diou"}),
    Row("mosaic 0.5", "mosaic and mixup", {"mosaic": 0.5}),
    Row("mosaic 0.5 to the end", "mosaic and mixup", {"mosaic": 0.5, "close_mosaic": 0}),
    Row("mixup 0.2", "mosaic and mixup", {"mixup": 0.2}),
    Row("no average", "average of the weights", {"ema_decay": 0}),
    Row("0.9998", "average of the weights", {"ema_decay": 0.9998}),
    Row("0.002", "learning rate", {"lr": 0.002}),
    Row("0.008", "learning rate", {"lr": 0.008}),
    Row("sgd, 0.02", "optimizer", {"optimizer": "sgd"}),
    Row("sgd, 0.01", "optimizer", {"optimizer": "sgd", "lr": 0.01}),
    Row("0", "weight decay", {"weight_decay": 0}),
    Row("0.05", "weight decay", {"weight_decay": 0.05}),
    Row("those of COCO", "anchors", {"anchors": "default"}),
    Row("none", "bias of objectness", {"objectness_prior": 0.5}),
    Row("8 pictures", "batch", {"batch_size": 8}),
    Row("silu", "activation", {"activation": "silu"}),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train what is missing")
    run.add_argument("--bccd", type=Path, help="folder of BCCD; without it only synthetic pictures")
    run.add_argument("--work", type=Path, default=Path("runs/ablation"), help="takes the synthetic pictures and runs")
    run.add_argument("--width", type=float, default=0.25)
    run.add_argument("--image-size", type=int, default=192)
    run.add_argument("--epochs", type=int, default=12)
    run.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    page = verbs.add_parser("page", help="renew the tables of the page")
    page.add_argument("--page", type=Path, default=Path("docs/recipes.md"))
    for verb in (run, page):
        verb.add_argument("--results", type=Path, required=True, help="JSON lines, one a training")
    arguments = parser.parse_args()
    if arguments.verb == "page":
        renew_page(arguments.page, read_results(arguments.results))
        return 0
    run_missing(arguments)
    return 0


def run_missing(arguments: argparse.Namespace) -> None:
    data = data_sets(arguments)
    common = {"width": arguments.width, "image_size": arguments.image_size, "epochs": arguments.epochs}
    done = {key_of(result) for result in read_results(arguments.results)}
    plan = [(name, row, seed) for name in data for row in ROWS for seed in arguments.seeds]
    for number, (name, row, seed) in enumerate(plan, start=1):
        settings = common | row.changes
        if key_of({"data": name, "seed": seed, "settings": settings}) in done:
            continue
        print(f"[{number}/{len(plan)}] {name}, {row.group}: {row.name}, seed {seed}", flush=True)
        result = train_once(data[name], settings, seed, arguments.work)
        line = {"data": name, "group": row.group, "row": row.name, "seed": seed, "settings": settings, **result}
        append(arguments.results, json.dumps(line))


def data_sets(arguments: argparse.Namespace) -> dict[str, Path]:
    """Name -> folder; BCCD first, where there is one."""
    from lookonce.data.synthetic import write_synthetic

    synthetic = arguments.work / "synthetic"
    if not synthetic.exists():
        write_synthetic(synthetic, **SYNTHETIC_IMAGES)
    bccd = {"bccd": arguments.bccd} if arguments.bccd else {}
    return bccd | {"synthetic": synthetic}


def train_once(data: Path, settings: Mapping[str, Any], seed: int, work: Path) -> dict[str, Any]:
    """The scores on the validation split after the last epoch, and what it took."""
    from lookonce.workflows.train import train

    started = time.perf_counter()
    # Scored once, at the end: the best of many evaluations would flatter rows that go up and down.
    quiet = {"eval_every": 0, "save_every": 10_000, "log_interval": 10_000, "workers": 0}
    result = train(data=str(data), runs=work / "runs", seed=seed, **quiet, **settings)
    if result.stopped:
        sys.exit("stopped; the same command goes on with this row")
    return {
        "scores": {name: result.metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")},
        "steps": int(result.metrics["step"]),
        "seconds": round(time.perf_counter() - started, 1),
        "machine": f"{platform.machine()}, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}",
        "date": time.strftime("%Y-%m-%d"),
    }


def read_results(path: Path) -> list[dict[str, Any]]:
    """One dictionary a training; a line cut short by a kill is left out, and trained again."""
    results = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return results


def append(path: Path, line: str) -> None:
    """Adds a line, after the rest of one that a kill cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = not path.exists() or path.read_bytes().endswith(b"\n") or path.stat().st_size == 0
    with path.open("a", encoding="utf-8") as file:
        file.write(("" if whole else "\n") + line + "\n")


def key_of(result: Mapping[str, Any]) -> str:
    return json.dumps([result["data"], result["seed"], dict(result["settings"])], sort_keys=True)


BEGIN, END = "<!-- tables: made by benchmarks/ablation.py page -->", "<!-- end of tables -->"


def renew_page(path: Path, results: list[dict[str, Any]]) -> None:
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    path.write_text("\n".join([f"{before}{BEGIN}", *tables(results), f"{END}{after}"]), encoding="utf-8")


def tables(results: list[dict[str, Any]]) -> Iterator[str]:
    for name in dict.fromkeys(result["data"] for result in results):
        own = [result for result in results if result["data"] == name]
        yield f"\n## {name}\n\n{scale_of(own)}\n"
        yield table(own)


def scale_of(results: list[dict[str, Any]]) -> str:
    """One sentence on what was trained, and where."""
    settings, machine = results[0]["settings"], results[0]["machine"]
    dates = " to ".join(dict.fromkeys((results[0]["date"], results[-1]["date"])))
    return (
        f"{len(results)} trainings of {settings['epochs']} epochs at {settings['image_size']} pixels and width "
        f"{settings['width']:g} ({machine}, {dates}). Points of AP and AP50 on val after the last epoch, "
        "mean ± standard deviation over the seeds."
    )


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table of one data set's rows, and the command of each."""
    base = scores(results, ROWS[0], "AP")
    lines = ["| what | choice | AP | against modern | AP50 | seeds | command |", "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        ap, ap50 = scores(results, row, "AP"), scores(results, row, "AP50")
        if not ap:
            continue
        gaps = [ap[seed] - base[seed] for seed in ap if seed in base]
        gap = spread(gaps, sign="+") if gaps and row != ROWS[0] else ""
        command = command_of(next(result for result in results if is_of(result, row)))
        cells = (row.group, row.name, spread(ap.values()), gap, spread(ap50.values()), str(len(ap)), command)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def is_of(result: Mapping[str, Any], row: Row) -> bool:
    return bool(result["group"] == row.group and result["row"] == row.name)


def scores(results: list[dict[str, Any]], row: Row, name: str) -> dict[int, float]:
    """Seed -> points."""
    return {result["seed"]: 100 * result["scores"][name] for result in results if is_of(result, row)}


def spread(values: Iterable[float], sign: str = "") -> str:
    """Mean and standard deviation, in points."""
    points = list(values)
    deviation = f" ± {statistics.stdev(points):.1f}" if len(points) > 1 else ""
    return f"{statistics.mean(points):{sign}.1f}{deviation}"


def command_of(result: Mapping[str, Any]) -> str:
    """What makes the row again, for each seed N."""
    settings = " ".join(f"{name}={value}" for name, value in result["settings"].items())
    return f"`lookonce train data={result['data']} seed=N eval_every=0 {settings}`"


if __name__ == "__main__":
    sys.exit(main())
