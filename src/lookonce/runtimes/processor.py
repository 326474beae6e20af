"""Name and INT8 capabilities of the CPU, as the operating system reports them."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# CPU feature, as Linux names it -> how INT8 products are summed with it. Runtimes use the first that the CPU has.
# Source of the names: arch/x86/include/asm/cpufeatures.h and arch/arm64/kernel/cpuinfo.c of Linux.
INT8_PATHS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512bw": "AVX-512 without VNNI (16-bit sums; 7-bit weights do not overflow them)",
    "avx2": "AVX2 without VNNI (16-bit sums; 7-bit weights do not overflow them)",
    "i8mm": "NEON matrix products",
    "asimddp": "NEON dot product",
    "asimd": "NEON without dot product",
}


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The CPU model, for example "AMD EPYC"; the architecture when the system does not report a model."""
    return _field(cpuinfo, "model name") or platform.processor() or platform.machine()


def int8_path(cpuinfo: Path = CPUINFO) -> str:
    """How this CPU sums INT8 products, a value of INT8_PATHS; "unknown" except for Linux on x86 and Arm."""
    features = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split())
    return next((words for feature, words in INT8_PATHS.items() if feature in features), "unknown")


def _field(cpuinfo: Path, name: str) -> str:
    """The value of the first line with this name, "" when there is none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == name), "")
