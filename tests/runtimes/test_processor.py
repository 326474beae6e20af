"""What the processor is, from Linux's list of its features."""

from pathlib import Path

import pytest

from lookonce.runtimes.processor import INT8_PATHS, int8_path, processor_name

X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse4_1 {}\n\nprocessor\t: 1\nmodel name\t: other\n"


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        (X86.format("avx2"), "avx2"),
        (X86.format("avx2 avx512f avx512bw"), "avx512bw"),
        (X86.format("avx2 avx_vnni"), "avx_vnni"),
        (X86.format("avx2 avx512bw avx512_vnni"), "avx512_vnni"),
        (X86.format("avx512_vnni avx_vnni amx_int8"), "amx_int8"),
        ("Features\t: fp asimd asimddp\n", "asimddp"),
        ("Features\t: fp asimddp i8mm\n", "i8mm"),
    ],
)
def test_the_best_path_that_the_processor_has_is_named(tmp_path: Path, text: str, feature: str):
    (tmp_path / "cpuinfo").write_text(text)
    assert int8_path(tmp_path / "cpuinfo") == INT8_PATHS[feature]


@pytest.mark.parametrize("text", [None, "", X86.format("sse4_2"), "isa\t: rv64imafdc\n"])
def test_a_path_that_nothing_tells_is_unknown(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert int8_path(tmp_path / "cpuinfo") == "unknown"


def test_the_first_model_is_the_processors_name(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text(X86)
    assert processor_name(tmp_path / "cpuinfo") == "AMD EPYC"
    assert processor_name(tmp_path / "absent") != ""
