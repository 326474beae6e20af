import pytest

from lookonce.training.progress import Progress, Speed, duration


def test_durations_are_written_as_hours_minutes_seconds() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.6, 3723)] == ["0:00:00", "0:01:00", "1:02:03"]


def test_time_left_counts_steps_and_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 of 40 steps took 20 s, of which 5 s were an evaluation: 15 s of steps and 5 s of evaluation; 60 s to go."""
    now = [100.0]
    monkeypatch.setattr("lookonce.training.progress.time.perf_counter", lambda: now[0])
    progress = Progress(epochs=4, steps_per_epoch=10, log_interval=1)
    progress.run = Speed(started=100.0)
    assert progress.left(0) == "ETA -"
    progress.run.images, progress.run.steps, progress.run.waiting = 30, 10, 3.0
    now[0] = 120.0
    progress.evaluated(5.0)
    assert progress.left(10) == "ETA 0:01:00"
    assert progress.run.images_per_second == pytest.approx(30 / 15)
    assert progress.run.waiting_share == pytest.approx(3 / 15)
