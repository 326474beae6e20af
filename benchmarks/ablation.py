"""Ablation of recipe `modern`: one setting changed at a time, several seeds, the same number of images.

    python benchmarks/ablation.py run --bccd PATH/TO/bccd --results benchmarks/results/ablation.jsonl
    python benchmarks/ablation.py page --results benchmarks/results/ablation.jsonl --page docs/recipes.md

`run` trains what the results file does not hold yet and appends one JSON line per training, so it can be stopped and
restarted at any time; only one process may use a results file. The synthetic data set is created in --work on first
use. With the defaults (width 0.25, 192 pixels, 12 epochs) a training takes about a minute on one core. The results rank
choices for a small network and a short training; they are not scores of the full network.

`page` writes the tables between the two marks of the page. The score of a row is COCO's AP on the validation split
after the last epoch. Its difference to `modern` is computed per seed, since runs of one seed have the same
initialisation and images.
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


# Trained in this order: the most decisive rows come first.
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
    Row("0 (off)", "EMA decay", {"ema_decay": 0}),
    Row("0.998", "EMA decay", {"ema_decay": 0.998}),
    Row("0.9998", "EMA decay", {"ema_decay": 0.9998}),
    Row("0.002", "learning rate", {"lr": 0.002}),
    Row("0.008", "learning rate", {"lr": 0.008}),
    Row("sgd, 0.02", "optimizer", {"optimizer": "sgd"}),
    Row("sgd, 0.01", "optimizer", {"optimizer": "sgd", "lr": 0.01}),
    Row("0", "weight decay", {"weight_decay": 0}),
    Row("0.05", "weight decay", {"weight_decay": 0.05}),
    Row("COCO's", "anchors", {"anchors": "default"}),
    Row("0.01", "objectness prior", {"objectness_prior": 0.01}),
    Row("0.5 (zero bias)", "objectness prior", {"objectness_prior": 0.5}),
    Row("8", "batch size", {"batch_size": 8}),
    Row("silu", "activation", {"activation": "silu"}),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train the rows that the results file lacks")
    run.add_argument("--bccd", type=Path, help="BCCD data set; default: only the synthetic data set")
    run.add_argument(
        "--work", type=Path, default=Path("runs/ablation"), help="folder for the synthetic data set and the runs"
    )
    run.add_argument("--width", type=float, default=0.25)
    run.add_argument("--image-size", type=int, default=192)
    run.add_argument("--epochs", type=int, default=12)
    run.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    page = verbs.add_parser("page", help="update the tables of the page")
    page.add_argument("--page", type=Path, default=Path("docs/recipes.md"))
    for verb in (run, page):
        verb.add_argument("--results", type=Path, required=True, help="JSON Lines file, one line per training")
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
    """Name -> folder; BCCD first, if given."""
    from lookonce.data.synthetic import write_synthetic

    synthetic = arguments.work / "synthetic"
    if not synthetic.exists():
        write_synthetic(synthetic, **SYNTHETIC_IMAGES)
    bccd = {"bccd": arguments.bccd} if arguments.bccd else {}
    return bccd | {"synthetic": synthetic}


def train_once(data: Path, settings: Mapping[str, Any], seed: int, work: Path) -> dict[str, Any]:
    """Scores on the validation split after the last epoch, number of steps, seconds, machine and date."""
    from lookonce.workflows.train import train

    started = time.perf_counter()
    # Evaluated once, at the end: the best of many evaluations would favour rows with noisy scores.
    quiet = {"eval_every": 0, "save_every": 10_000, "log_interval": 10_000, "workers": 0}
    result = train(data=str(data), runs=work / "runs", seed=seed, **quiet, **settings)
    if result.stopped:
        sys.exit("stopped; repeat the command to continue with this row")
    return {
        "scores": {name: result.metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")},
        "steps": int(result.metrics["step"]),
        "seconds": round(time.perf_counter() - started, 1),
        "machine": f"{platform.machine()}, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}",
        "date": time.strftime("%Y-%m-%d"),
    }


def read_results(path: Path) -> list[dict[str, Any]]:
    """One dictionary per training; a line truncated by a kill is skipped, and its row trained again."""
    results = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return results


def append(path: Path, line: str) -> None:
    """Append a line; a last line truncated by a kill is ended first."""
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
    """One paragraph: number of trainings, epochs, image size, width, machine and dates."""
    settings, machine = results[0]["settings"], results[0]["machine"]
    dates = " to ".join(dict.fromkeys((results[0]["date"], results[-1]["date"])))
    return (
        f"{len(results)} trainings of {settings['epochs']} epochs at {settings['image_size']} pixels and width "
        f"{settings['width']:g} ({machine}, {dates}). Points of AP and AP50 on val after the last epoch, "
        "mean ± standard deviation over the seeds."
    )


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table of the rows of one data set, each with its command."""
    base = scores(results, ROWS[0], "AP")
    lines = [
        "| setting | value | AP | difference to modern | AP50 | seeds | command |",
        "|---|---|---|---|---|---|---|",
    ]
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
    """Seed -> score in points, 0..100."""
    return {result["seed"]: 100 * result["scores"][name] for result in results if is_of(result, row)}


def spread(values: Iterable[float], sign: str = "") -> str:
    """Mean and standard deviation, in points."""
    points = list(values)
    deviation = f" ± {statistics.stdev(points):.1f}" if len(points) > 1 else ""
    return f"{statistics.mean(points):{sign}.1f}{deviation}"


def command_of(result: Mapping[str, Any]) -> str:
    """The command that repeats the training of a row; N is the seed."""
    settings = " ".join(f"{name}={value}" for name, value in result["settings"].items())
    return f"`lookonce train data={result['data']} seed=N eval_every=0 {settings}`"


if __name__ == "__main__":
    sys.exit(main())
