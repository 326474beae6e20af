"""`lookonce doctor` looks, and changes nothing."""

import numpy as np
import onnxruntime
import pytest

from lookonce.errors import how_to_install
from lookonce.workflows import doctor as doctor_module
from lookonce.workflows.doctor import TINY_ONNX, Health, MachineCheck, as_text, doctor, requirements


def test_this_machine_is_well():
    health = doctor()
    assert health.exit_code == 0
    text = "\n".join(as_text(health))
    for name in ("python", "processor", "int8", "packages", "images", "ONNX Runtime", "PyTorch", "free here"):
        assert f" {name} " in text


def test_the_tiny_model_doubles():
    session = onnxruntime.InferenceSession(TINY_ONNX, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([1.5, -2], dtype=np.float32)})[0].tolist() == [3, -4]


def test_requirements_are_sorted_by_extra():
    wanted = requirements()
    assert {"numpy", "onnxruntime", "pydantic"} <= set(wanted[""])
    assert "torch" in wanted["train"]
    assert "torch" not in wanted[""]


def test_lookonce_that_is_not_installed_is_a_note(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_module, "installed_version", lambda package: "")
    assert [finding.verdict for finding in doctor_module._packages()] == ["note"]


def test_an_extra_that_is_not_installed_is_optional_and_has_its_use_and_pip_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_module, "requirements", lambda: {"": ["numpy"], "video": ["no-such-package"]})
    _, extra = doctor_module._packages()
    assert (extra.verdict, extra.advice) == ("optional", how_to_install("video"))
    assert "no-such-package" in extra.text
    assert doctor_module.USES["video"] in extra.text


def test_every_extra_has_a_use():
    assert requirements().keys() - {""} == doctor_module.USES.keys()


def test_what_should_work_and_does_not_is_status_1():
    def broken() -> str:
        raise ImportError("libGL.so.1: cannot open shared object file")

    finding = doctor_module._tried("pictures", broken)
    assert Health(findings=(finding,)).exit_code == 1
    assert "libGL.so.1" in finding.text


def test_little_space_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(doctor_module, "LITTLE_SPACE_GB", 1e12)
    assert doctor_module._space("free here", tmp_path).verdict == "note"


def test_advice_stands_below_its_finding():
    health = Health(findings=(MachineCheck("a", "optional", "without b", "pip install b"),))
    assert list(as_text(health)) == ["optional a  without b", "            -> pip install b"]
    assert health.exit_code == 0
