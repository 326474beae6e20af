"""Paired experiments on recipes: small sets of real images, several seeds, with and without weights to start from.

    python benchmarks/recipes.py run --data bccd=PATH raccoon=PATH --weights yolov3-tiny.weights --results R.jsonl
    python benchmarks/recipes.py page --results R.jsonl            # writes the tables into docs/recipes.md

`run` trains what the results file does not hold yet, seed after seed, and appends one JSON line per training: it can
be stopped and repeated at any time, and the tables can be read before it ends. `--images 20 50 100 0` draws that many
training images of each set (0: all), the same for every arm; the validation split is whole. `--arms` chooses arms by
name. To rank: `--width 0.25 --image-size 192 --epochs 12`; --width holds for arms from random weights only, the others
have the width of the weights.

`page` gives each arm's difference to its base (`modern`, or `weights` for the arms that start from weights) in points
of AP, over the pairs of equal data, number of images and seed, with the 95 % interval of their mean (Student's t). An
arm is ahead where the whole interval is above 0.
"""

import argparse
import json
import re
import shutil
import statistics
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation import append, read_results, spread, train_once

BEGIN, END = "<!-- tables: made by benchmarks/recipes.py page -->", "<!-- end of the tables of recipes.py -->"


@dataclass(frozen=True)
class Arm:
    """changes: settings that differ from those of all arms; None: they were removed, and only their results remain.

    base: the arm it is compared with.
    threshold: above 0, the images that --images leaves out join the training set with the base's detections as labels;
    epochs then give about as many steps as the base has.
    """

    name: str
    changes: Mapping[str, Any] | None
    base: str = "modern"
    threshold: float = 0.0

    @property
    def starts_from_weights(self) -> bool:
        return any(word.startswith("weights") for word in (self.base, self.name))


# Images per batch that `batch_size: 0` chooses for 50 images.
SMALLEST_BATCH = 4
# The bases first. An arm that changes epochs is compared at unequal cost; its number of steps is in the table.
ARMS = (
    Arm("modern", {}),
    Arm("weights", {}, "modern"),
    Arm("ema 0.998, prior 0.01", {"ema_decay": 0.998, "objectness_prior": 0.01}),  # the default until 2026-11-29
    Arm("ema 0.998", {"ema_decay": 0.998}),
    Arm("ema off", {"ema_decay": 0}),
    Arm("prior 0.01", {"objectness_prior": 0.01}),
    Arm("prior 0.5", {"objectness_prior": 0.5}),
    Arm("lr 0.008", {"lr": 0.008}),
    Arm("warm-up 0.5", {"warmup_epochs": 0.5}),
    Arm("assign_top 10", {"assign_top": 10}),  # the default until 2026-11-30
    Arm("assign_top 5", {"assign_top": 5}),
    Arm("assign_top 3", {"assign_top": 3}),
    Arm("mosaic 0.5", {"mosaic": 0.5}),
    Arm("dialect darknet", {"dialect": "darknet"}),
    Arm("copy-paste 0.5", None),
    Arm("reparameterized", None),
    Arm("pseudo-labels 0.3", {}, threshold=0.3),
    Arm("epochs chosen", {"epochs": 0}),
    Arm("recipe finetune", {"recipe": "finetune"}, "weights"),
    Arm("weights, lr 0.001", {"lr": 0.001}, "weights"),
    Arm("weights, lr 0.002", {"lr": 0.002}, "weights"),
    Arm("weights, ema 0.998", {"ema_decay": 0.998}, "weights"),
    Arm("weights, dialect ultralytics", {"dialect": "ultralytics"}, "weights"),
    Arm("weights, anchors auto", {"anchors": "auto"}, "weights"),
    Arm("weights, anchors auto, dialect ultralytics", {"anchors": "auto", "dialect": "ultralytics"}, "weights"),
    Arm("weights, anchors auto, assign_top 10", {"anchors": "auto", "assign_top": 10}, "weights, anchors auto"),
    Arm("weights, anchors auto, assign_top 5", {"anchors": "auto", "assign_top": 5}, "weights, anchors auto"),
    Arm("weights, anchors auto, assign_top 3", {"anchors": "auto", "assign_top": 3}, "weights, anchors auto"),
    Arm("weights, freeze 4", {"freeze_stages": 4}, "weights"),
    Arm("weights, freeze BatchNorm", {"freeze_bn": True}, "weights"),
    Arm("weights, epochs chosen", {"epochs": 0}, "weights"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train the arms that the results file lacks")
    run.add_argument("--data", nargs="+", required=True, metavar="NAME=PATH", help="data sets with a split val")
    run.add_argument("--weights", help="weights to start from; without them only arms from random weights")
    run.add_argument("--images", type=int, nargs="+", default=[0], help="training images per set; 0: all")
    names = [arm.name for arm in ARMS if arm.changes is not None]
    run.add_argument("--arms", nargs="+", choices=names, default=names)
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--width", type=float, default=1.0)
    run.add_argument("--image-size", type=int, default=320)
    run.add_argument("--epochs", type=int, default=30)
    run.add_argument("--work", type=Path, default=Path("runs/recipes"), help="folder for the samples and the runs")
    page = verbs.add_parser("page", help="update the tables of the page")
    page.add_argument("--page", type=Path, default=Path("docs/recipes.md"))
    for verb in (run, page):
        verb.add_argument("--results", type=Path, required=True, help="JSON Lines file, one line per training")
    arguments = parser.parse_args()
    if arguments.verb == "page":
        renew_page(arguments.page, read_results(arguments.results))
    else:
        run_missing(arguments)
    return 0


def run_missing(arguments: argparse.Namespace) -> None:
    """Seed by seed, so that every arm has as many pairs as its base wherever this is stopped."""
    done = {key_of(result) for result in read_results(arguments.results)}
    arms = [arm for arm in ARMS if arm.name in arguments.arms and (arguments.weights or not arm.starts_from_weights)]
    sets = [(*word.split("=", 1), count) for word in arguments.data for count in arguments.images]
    plan = [
        (name, path, count, arm, seed)
        for seed in arguments.seeds
        for name, path, count in sets
        for arm in arms
        if count or not arm.threshold
    ]
    for number, (name, path, count, arm, seed) in enumerate(plan, start=1):
        settings = settings_of(arm, arguments)
        scale = f"{arguments.epochs} epochs at {arguments.image_size} pixels, width {arguments.width:g}"
        which = {"data": name, "images": count, "arm": arm.name, "seed": seed}
        line = which | {"scale": scale, "settings": settings}
        if key_of(line) in done:
            continue
        print(f"[{number}/{len(plan)}] {name}, {count or 'all'} images, {arm.name}, seed {seed}", flush=True)
        data = sample_of(Path(path), name, count, arguments.work)
        if arm.threshold:
            base = next(other for other in ARMS if other.name == arm.base)
            of_base = line | {"arm": base.name, "settings": settings_of(base, arguments)}
            teacher = arguments.work / "runs" / run_of(of_base)
            data, settings = with_pseudo_labels(Path(path), data, teacher, arm.threshold, settings)
        result = train_once(data, settings | {"run": run_of(line)}, seed, arguments.work)
        append(arguments.results, json.dumps(line | result))


def settings_of(arm: Arm, arguments: argparse.Namespace) -> dict[str, Any]:
    start = {"weights": str(arguments.weights)} if arm.starts_from_weights else {"width": arguments.width}
    return {"image_size": arguments.image_size, "epochs": arguments.epochs, **start, **(arm.changes or {})}


def sample_of(path: Path, name: str, count: int, work: Path) -> Path:
    """A copy with `count` random training images, the same at every call; the data set itself for 0."""
    from lookonce.data.selection import sample
    from lookonce.data.source import open_data
    from lookonce.data.write import write_data

    folder = work / f"{name}-{count}"
    if count and not folder.exists():
        source = open_data(str(path))
        write_data([sample(source.split("train"), count, 0), source.split("val")], folder, to="coco", placing="copy")
    return folder if count else path


def run_of(line: Mapping[str, Any]) -> str:
    """Name of the run folder, another for each `key_of`."""
    words = (str(line[name]) for name in ("data", "images", "arm", "seed"))
    return re.sub(r"[^\w.]+", "-", f"{' '.join(words)} {zlib.crc32(key_of(line).encode()):08x}")


def with_pseudo_labels(
    path: Path, labelled: Path, teacher: Path, threshold: float, settings: Mapping[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """The data set `labelled` and the other training images of `path`, whose labels are the teacher's detections; and
    the settings for about as many steps as the teacher's."""
    from lookonce.data.source import open_data
    from lookonce.workflows.convert_data import convert_data
    from lookonce.workflows.predict import predict

    output = teacher.with_name(f"{teacher.name}-labels-{threshold}")
    if not teacher.exists():
        sys.exit(f"{teacher}: no such run; expected that of the arm's base; add it to --arms, with the same --work")
    known = {image.name for image in open_data(str(labelled)).split("train").image_paths}
    images = open_data(str(path)).split("train").image_paths
    if not (output / "all").exists():
        shutil.rmtree(output, ignore_errors=True)  # of an interrupted call
        output.mkdir()
        (output / "rest.txt").write_text("".join(f"{image}\n" for image in images if image.name not in known))
        given = {"threshold": threshold, "multi_label": False, "save": "json", "as_labels": "coco"}
        predicted = predict(str(output / "rest.txt"), weights=teacher, output=output / "round", **given)
        convert_data(labelled, output / "all", to="coco", merge=[predicted.pre_labels])
    fewer = {"epochs": max(round(settings["epochs"] * len(known) / len(images)), 1), "batch_size": SMALLEST_BATCH}
    return output / "all", {**settings, **fewer}


def key_of(result: Mapping[str, Any]) -> str:
    return json.dumps([result[name] for name in ("data", "images", "seed", "scale", "arm", "settings")], sort_keys=True)


def renew_page(path: Path, results: list[dict[str, Any]]) -> None:
    """Replace what stands between the two marks, or append both."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text("\n".join([before.rstrip() + f"\n\n{BEGIN}", *tables(results), f"{END}{after or chr(10)}"]))


def tables(results: list[dict[str, Any]]) -> Iterator[str]:
    """For each scale (epochs, image size, width of the arms from random weights): a table a set, and one of all."""
    for scale in dict.fromkeys(result["scale"] for result in results):
        own = [result for result in results if result["scale"] == scale]
        sets = dict.fromkeys((result["data"], result["images"]) for result in own)
        dates = sorted({result["date"] for result in own})
        yield f"\n## {scale}\n\n{len(own)} trainings, {own[0]['machine']}, {dates[0]} to {dates[-1]}.\n"
        for data, images in sets:
            yield f"### {data}, {images or 'all'} images\n"
            yield table([result for result in own if (result["data"], result["images"]) == (data, images)])
        if len(sets) > 1:
            yield "### All of them\n"
            yield table(own)


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table of AP in points, mean and standard deviation, and of the paired differences to the base."""
    lines = [
        "| arm | AP | AP50 | compared with | difference, 95 % interval | pairs | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        own = scores(results, arm.name)
        if not own:
            continue
        base = scores(results, arm.base) if arm.base != arm.name else {}
        gaps = [own[key][0] - base[key][0] for key in own if key in base]
        ap, ap50 = (spread(score[column] for score in own.values()) for column in (0, 1))
        steps = statistics.mean(score[2] for score in own.values())
        compared = arm.base if gaps else ""
        lines.append(
            f"| {arm.name} | {ap} | {ap50} | {compared} | {interval(gaps)} | {len(gaps) or ''} | {steps:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def scores(results: list[dict[str, Any]], arm: str) -> dict[tuple[str, int, int], tuple[float, float, int]]:
    """(data, images, seed) -> AP and AP50 in points, and steps."""
    return {
        (result["data"], result["images"], result["seed"]): (
            100 * result["scores"]["AP"],
            100 * result["scores"]["AP50"],
            result["steps"],
        )
        for result in results
        if result["arm"] == arm
    }


def interval(gaps: list[float]) -> str:
    """Mean and Student's 95 % interval of the mean, in points; the mean alone of one pair."""
    from scipy.stats import t

    if len(gaps) < 2:
        return f"{gaps[0]:+.1f}" if gaps else ""
    mean = statistics.mean(gaps)
    half = float(t.ppf(0.975, len(gaps) - 1)) * statistics.stdev(gaps) / len(gaps) ** 0.5
    return f"{mean:+.1f} ({mean - half:+.1f} .. {mean + half:+.1f})"


if __name__ == "__main__":
    sys.exit(main())
