import json
from collections.abc import Callable
from typing import Any

import pytest

from lookonce.training.engine import STEP_PARTS, Learner
from lookonce.training.profile import profile_training
from lookonce.training.run_folder import RunFolder


def test_a_profile_names_the_parts_of_a_step_and_leaves_a_trace(
    make_learner: Callable[..., Learner], squares: Callable[..., Any], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.training.profile.PROFILED_STEPS", 3)  # of 10: reading a trace takes seconds
    lines = profile_training(make_learner(), squares(), run.path)
    assert lines[0].startswith("3 steps of ")
    step = float(lines[0].split()[3])
    parts = {line[:22].strip(): line[22:].replace("<", "").split() for line in lines[3:11]}
    assert list(parts) == ["waiting for images", *STEP_PARTS, "between them"]
    assert abs(sum(float(milliseconds) for milliseconds, *_ in parts.values()) - step) < 0.1
    for milliseconds, _, share, _ in parts.values():
        assert abs(float(share) - 100 * float(milliseconds) / step) < 1
    assert any("convolution" in line for line in lines[12:])
    assert (run.path / "profile.txt").read_text().splitlines() == lines
    trace = json.loads((run.path / "profile.json").read_text())
    assert sum(event.get("name") == "forward" for event in trace["traceEvents"]) >= 3
