"""The ablation: a row done is not done again, and its table compares seed by seed."""

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ablation(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("ablation")


def result(group: str, row: str, seed: int, ap: float, **settings: Any) -> dict[str, Any]:
    scores = {"AP": ap, "AP50": 2 * ap}
    common = {"width": 0.25, "image_size": 192, "epochs": 12}
    machine = {"machine": "m", "date": "2026-11-25"}
    which = {"data": "bccd", "group": group, "row": row, "seed": seed}
    return which | {"settings": common | settings, "scores": scores, **machine}


def test_differences_are_taken_seed_by_seed(ablation: ModuleType) -> None:
    """Seeds differ by 10 points, giou by 1 and by 3 from modern: +2, give or take the root of 2."""
    results = [
        result("recipe", "modern", 0, 0.20),
        result("recipe", "modern", 1, 0.30),
        result("box loss", "giou", 0, 0.21, box_loss="giou"),
        result("box loss", "giou", 1, 0.33, box_loss="giou"),
    ]
    *_, modern, giou = ablation.table(results).splitlines()
    assert "| recipe | modern | 25.0 ± 7.1 |  | 50.0 ± 14.1 | 2 |" in modern
    assert "| box loss | giou | 27.0 ± 8.5 | +2.0 ± 1.4 | 54.0 ± 17.0 | 2 |" in giou
    assert "`lookonce train data=bccd seed=N eval_every=0 width=0.25 image_size=192 epochs=12 box_loss=giou`" in giou


def test_what_is_done_is_not_done_again(
    ablation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[tuple[str, int]] = []

    def train_once(data: Path, settings: dict[str, Any], seed: int, work: Path) -> dict[str, Any]:
        trained.append((settings.get("box_loss", "ciou"), seed))
        return {"scores": {}}

    monkeypatch.setattr(ablation, "train_once", train_once)
    monkeypatch.setattr(ablation, "data_sets", lambda _: {"synthetic": tmp_path})
    rows = [ablation.Row("modern", "recipe", {}), ablation.Row("giou", "box loss", {"box_loss": "giou"})]
    monkeypatch.setattr(ablation, "ROWS", rows)
    arguments = argparse.Namespace(
        width=0.25, image_size=64, epochs=1, seeds=[0, 1], results=tmp_path / "r.jsonl", work=tmp_path
    )
    ablation.run_missing(arguments)
    assert trained == [("ciou", 0), ("ciou", 1), ("giou", 0), ("giou", 1)]
    lines = arguments.results.read_text().splitlines()
    arguments.results.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # killed while it wrote the last one
    ablation.run_missing(arguments)
    assert trained[4:] == [("giou", 1)]
    assert len(ablation.read_results(arguments.results)) == 4


def test_the_published_results_are_those_of_the_page(ablation: ModuleType) -> None:
    results = ablation.read_results(ROOT / "benchmarks" / "results" / "ablation.jsonl")
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert "\n".join(ablation.tables(results)) in page
