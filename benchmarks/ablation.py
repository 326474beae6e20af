"""What each choice of recipe `modern` is worth: one factor changed at a time, several seeds, the same pictures seen.

    python benchmarks/ablation.py run --bccd PATH/TO/bccd --results ablation.jsonl
    python benchmarks/ablation.py page --results ablation.jsonl > docs/recipes.md

`run` trains whatever the results file does not hold yet and appends one JSON line a training, so that it can be
stopped and started at will; two cannot work on one file at once. The synthetic data set is made in --work on the first
use. The defaults (a quarter of the channels, 192 pixels, 12 epochs) take about a minute a training on one core: they
rank choices for a small network that is trained briefly, and are no scores to quote for the full one.

`page` makes the tables; a row's score is COCO's AP on the validation split after the last epoch, mean and spread
(standard deviation) over the seeds.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEEDS = (0, 1, 2)
SYNTHETIC_PICTURES = {"train": 200, "val": 80}


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
    Row("0.005", "learning rate", {"lr": 0.005}),
    Row("0.02", "learning rate", {"lr": 0.02}),
    Row("adamw, 0.002", "optimizer", {"optimizer": "adamw", "lr": 0.002, "momentum": 0.9, "weight_decay": 0.01}),
    Row("0", "weight decay", {"weight_decay": 0}),
    Row("0.005", "weight decay", {"weight_decay": 0.005}),
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
    page = verbs.add_parser("page", help="print the page")
    for verb in (run, page):
        verb.add_argument("--results", type=Path, required=True, help="JSON lines, one a training")
    arguments = parser.parse_args()
    if arguments.verb == "page":
        sys.stdout.write(page_of(read_results(arguments.results)))
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
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        with arguments.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def data_sets(arguments: argparse.Namespace) -> dict[str, Path]:
    """Name -> folder; BCCD first, where there is one."""
    from lookonce.data.synthetic import write_synthetic

    synthetic = arguments.work / "synthetic"
    if not synthetic.exists():
        write_synthetic(synthetic, **SYNTHETIC_PICTURES)
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
        "machine": f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads",
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


def key_of(result: Mapping[str, Any]) -> str:
    return json.dumps([result["data"], result["seed"], dict(result["settings"])], sort_keys=True)


INTRODUCTION = """\
# Recipes: what each choice is worth

`lookonce train` uses recipe `modern` unless told otherwise; `--recipe modelzoo` is the method of the model zoo's
document. The tables change one thing of `modern` at a time and train from random weights, with the same number of
passes over the same pictures.
"""


def page_of(results: list[dict[str, Any]]) -> str:
    """docs/recipes.md."""
    return "\n".join([INTRODUCTION, *tables(results)])


def tables(results: list[dict[str, Any]]) -> Iterator[str]:
    for name in dict.fromkeys(result["data"] for result in results):
        own = [result for result in results if result["data"] == name]
        yield f"## {name}\n"
        yield table(own)


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table of one data set's rows, and the command of each."""
    base = scores_of(results, "recipe", "modern")
    lines = ["| what | choice | AP | against modern | AP50 | seeds | command |", "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        own = [result for result in results if (result["group"], result["row"]) == (row.group, row.name)]
        if own:
            ap, ap50 = ([100 * result["scores"][kind] for result in own] for kind in ("AP", "AP50"))
            gap = statistics.mean(ap) - statistics.mean(base) if base else float("nan")
            cells = (row.group, row.name, spread(ap), f"{gap:+.1f}", spread(ap50), str(len(own)), command_of(own[0]))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def scores_of(results: list[dict[str, Any]], group: str, name: str) -> list[float]:
    return [100 * result["scores"]["AP"] for result in results if (result["group"], result["row"]) == (group, name)]


def spread(values: list[float]) -> str:
    """Mean and standard deviation, in points."""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


def command_of(result: Mapping[str, Any]) -> str:
    """What makes the row again, for each seed N."""
    settings = " ".join(f"{name}={value}" for name, value in result["settings"].items())
    return f"`lookonce train data={result['data']} seed=N eval_every=0 {settings}`"


if __name__ == "__main__":
    sys.exit(main())
