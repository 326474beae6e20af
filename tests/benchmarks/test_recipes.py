"""Paired experiments: every arm meets its base on the same data, number of images and seed."""

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from untrained import save_untrained


@pytest.fixture
def recipes(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("recipes")


def result(arm: str, seed: int, ap: float, data: str = "bccd") -> dict[str, Any]:
    which = {"data": data, "images": 20, "arm": arm, "seed": seed, "scale": "30 epochs"}
    return which | {"settings": {}, "scores": {"AP": ap, "AP50": 2 * ap}, "steps": 100, "machine": "m", "date": "d"}


def test_differences_are_paired_and_their_interval_is_students(recipes: ModuleType) -> None:
    """Gaps of +1, +2 and +3 points: mean 2, standard error 1 / sqrt(3) = 0.577, times 4.303 = 2.48."""
    results = [
        *(result("modern", seed, ap) for seed, ap in enumerate((0.20, 0.30, 0.10))),
        *(result("weights", seed, ap) for seed, ap in enumerate((0.21, 0.32, 0.13))),
        result("recipe finetune", 1, 0.33),
        result("modern", 0, 0.9, data="raccoon"),
    ]
    text = "\n".join(recipes.tables(results))
    assert "| weights | 22.0 ± 9.5 | 44.0 ± 19.1 | modern | +2.0 (-0.5 .. +4.5) | 3 | 100 |" in text
    assert "| recipe finetune | 33.0 | 66.0 | weights | +1.0 | 1 | 100 |" in text
    assert "| modern | 20.0 ± 10.0 | 40.0 ± 20.0 |  |  |  | 100 |" in text
    assert "### raccoon, 20 images" in text
    assert text.count("### All of them") == 1


def test_the_page_is_renewed_between_its_marks(recipes: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    recipes.renew_page(page, [result("modern", 0, 0.2)])
    first = page.read_text()
    recipes.renew_page(page, [result("modern", 0, 0.2)])
    assert page.read_text() == first
    assert first.startswith("# Page\n\n<!-- tables")
    recipes.renew_page(page, [result("modern", 0, 0.3)])
    assert "| modern | 30.0 |" in page.read_text()


def test_what_is_done_is_not_done_again_and_weights_are_needed_for_their_arms(
    recipes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[dict[str, Any]] = []

    def train_once(data: Path, settings: dict[str, Any], seed: int, work: Path) -> dict[str, Any]:
        trained.append({"data": data, "seed": seed, **settings})
        return {"scores": {}}

    monkeypatch.setattr(recipes, "train_once", train_once)
    arms = ["modern", "weights", "recipe finetune"]
    given = {"data": ["a=x", "b=y"], "images": [0], "arms": arms, "seeds": [0, 1], "work": tmp_path}
    given |= {"width": 0.25, "image_size": 64, "epochs": 1, "results": tmp_path / "r.jsonl"}
    recipes.run_missing(argparse.Namespace(**given, weights=None))
    assert [(str(run["data"]), run["seed"], run["width"]) for run in trained] == [
        ("x", 0, 0.25),
        ("y", 0, 0.25),
        ("x", 1, 0.25),
        ("y", 1, 0.25),
    ]
    trained.clear()
    recipes.run_missing(argparse.Namespace(**given, weights="w"))
    assert [run.get("recipe") for run in trained] == [None, "finetune"] * 4
    assert all(run["weights"] == "w" and "width" not in run for run in trained)


def test_a_sample_is_drawn_once_and_has_the_whole_validation_split(recipes: ModuleType, tmp_path: Path) -> None:
    from lookonce.data.source import open_data
    from lookonce.data.synthetic import SceneOptions, write_synthetic

    path = write_synthetic(tmp_path / "table", train=5, val=3, options=SceneOptions(sides=(64, 64), max_things=2))
    drawn = recipes.sample_of(path, "table", 2, tmp_path / "work")
    assert (len(open_data(drawn).split("train")), len(open_data(drawn).split("val"))) == (2, 3)
    assert recipes.sample_of(path, "table", 2, tmp_path / "work") == drawn
    assert recipes.sample_of(path, "table", 0, tmp_path / "work") == path


def test_pseudo_labels_are_the_teachers_detections_on_the_other_images(recipes: ModuleType, tmp_path: Path) -> None:
    from lookonce.data.source import open_data
    from lookonce.data.synthetic import CLASS_NAMES, SceneOptions, write_synthetic

    path = write_synthetic(tmp_path / "table", train=6, val=2, options=SceneOptions(sides=(64, 64), max_things=2))
    labelled = recipes.sample_of(path, "table", 2, tmp_path / "work")
    teacher = tmp_path / "work" / "teacher"
    save_untrained(teacher, CLASS_NAMES[:2], (1, 2))
    data, settings = recipes.with_pseudo_labels(path, labelled, teacher, 0.3, {"epochs": 12, "width": 0.25})
    assert settings == {"epochs": 4, "batch_size": recipes.SMALLEST_BATCH, "width": 0.25}
    train, few = open_data(data).split("train"), open_data(labelled).split("train")
    assert (len(train), len(open_data(data).split("val"))) == (6, 2)
    assert len(train.labels) > len(few.labels)
    assert recipes.with_pseudo_labels(path, labelled, teacher, 0.3, {"epochs": 12})[0] == data
