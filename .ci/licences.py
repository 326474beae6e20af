"""Refuses GPL and AGPL in whatever `uv.lock` installs by default, and in the web page: `python .ci/licences.py`.

Reads the metadata of the installed packages (run it in the project's environment) and the names of the shared
libraries that lie inside their wheels. What the metadata leaves open is named here, with the reason.
"""

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
COPYLEFT = re.compile(r"(?<!L)A?GPL|(?<!lesser )(?<!library )general public license", re.IGNORECASE)
WEAK_COPYLEFT = re.compile(r"LGPL|(?:lesser|library) general public license", re.IGNORECASE)

# Packages whose metadata says nothing.
STATED_ELSEWHERE = {"cuda-toolkit": "NVIDIA proprietary; an empty package that only names its parts"}
# Packages under the LGPL, each with the reason why it may stay. None at present.
LGPL_ALLOWED: dict[str, str] = {}
# Libraries under the GPL that have been seen inside wheels of other projects.
GPL_LIBRARIES = re.compile(r"lib(x264|x265|xvidcore|postproc|fftw3|gsl|readline|gmp)\b")
# Copyleft libraries inside wheels that may stay: shared objects that anyone can replace, used without change.
ALLOWED_LIBRARIES = {
    re.compile(r"lib(avcodec|avdevice|avfilter|avformat|avutil|swresample|swscale)\b"): "FFmpeg, built as LGPL-2.1",
    re.compile(r"lib(gfortran|gomp|gcc_s|stdc\+\+)\b"): "GPL-3.0 with the GCC runtime library exception",
    re.compile(r"libquadmath\b"): "LGPL-2.1, part of GCC's runtime",
}
# Packages that hold GPL libraries and that one extra alone brings: package -> extra. Who installs it knows
# (docs/predict.md); nothing else may need it.
GPL_IN_EXTRA = {"av": "video"}  # its wheels bring FFmpeg with libx264 and libx265


def locked_names(lock: dict[str, list[dict[str, object]]], groups: bool, without: str = "") -> set[str]:
    """Names that lookonce with all its extras (but `without`) needs on any platform; `groups`: of development too."""
    packages: dict[str, list[dict[str, object]]] = {}
    for package in lock["package"]:
        packages.setdefault(str(package["name"]), []).append(package)
    found: set[str] = set()
    waiting = ["lookonce"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            left_out = without if name == "lookonce" else ""
            waiting += [needed for package in packages[name] for needed in direct_needs(package, groups, left_out)]
    return found - {"lookonce"}


def direct_needs(package: dict[str, object], groups: bool, without: str = "") -> Iterator[str]:
    tables = ["optional-dependencies", "dev-dependencies"] if groups else ["optional-dependencies"]
    needs = list(package.get("dependencies", []))  # type: ignore[call-overload]
    for table in tables:
        for extra, listed in package.get(table, {}).items():  # type: ignore[attr-defined]
            needs += [] if extra == without else listed
    return (str(need["name"]) for need in needs)


def stated_licence(distribution: metadata.Distribution) -> str:
    """What the package says of itself: the SPDX expression, else classifiers and the licence field; may be empty."""
    fields = distribution.metadata
    if "License-Expression" in fields:
        return fields["License-Expression"]
    classifiers = [
        c.rpartition("::")[2].strip() for c in fields.get_all("Classifier", []) if c.startswith("License ::")
    ]
    field = fields["License"].strip() if "License" in fields else ""
    # Some put their whole licence there; its first line names it, and its body may mention others.
    return "; ".join([*classifiers, *field.splitlines()[:1]])


def complaint(name: str, licence: str) -> str | None:
    """Why this package may not be a dependency; None if it may. One free choice of an `OR` is enough."""
    choices = re.split(r"\bOR\b", licence)
    if all(COPYLEFT.search(choice) for choice in choices):
        return f"{name}: {licence}"
    if all(WEAK_COPYLEFT.search(choice) for choice in choices) and name not in LGPL_ALLOWED:
        return f"{name}: {licence} (list it in {Path(__file__).name} with a reason, if it may stay)"
    if not licence and name not in STATED_ELSEWHERE:
        return f"{name}: its metadata names no licence (look it up, and list it in {Path(__file__).name})"
    return None


def library_complaints(distribution: metadata.Distribution) -> Iterator[str]:
    for file in distribution.files or []:
        if ".so" in file.name and GPL_LIBRARIES.match(file.name):
            yield f"{distribution.name}: contains {file.name}, which is under the GPL"


def allowed_libraries(distribution: metadata.Distribution) -> set[str]:
    """Reasons for which copyleft libraries inside this package may stay."""
    names = [file.name for file in distribution.files or [] if ".so" in file.name]
    return {reason for pattern, reason in ALLOWED_LIBRARIES.items() if any(pattern.match(name) for name in names)}


def npm_licences(lock: Path) -> dict[str, str]:
    """Package -> the licence that package-lock.json states of it."""
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    return {path: str(entry.get("license", "")) for path, entry in packages.items() if path}


def main() -> int:
    lock = tomllib.loads((PROJECT_ROOT / "uv.lock").read_text(encoding="utf-8"))
    complaints, licences, absent = [], Counter[str](), []
    optional = {
        name for name, extra in GPL_IN_EXTRA.items() if name not in locked_names(lock, groups=True, without=extra)
    }
    for name in sorted(optional):
        print(f"allowed: {name} with the GPL libraries in it, since extra {GPL_IN_EXTRA[name]} alone brings it")
    for name in sorted(locked_names(lock, groups=True)):
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            absent.append(name)  # for another platform or another version of Python
            continue
        licence = stated_licence(distribution)
        libraries = [] if name in optional else list(library_complaints(distribution))
        complaints += [text for text in [complaint(name, licence), *libraries] if text]
        licences[licence[:60] or STATED_ELSEWHERE.get(name, "none stated")] += 1
        for reason in sorted(allowed_libraries(distribution)) if name not in optional else ():
            print(f"allowed inside {name}: {reason}")
    for name, licence in npm_licences(PROJECT_ROOT / "src" / "lookonce" / "web" / "package-lock.json").items():
        complaints += [text for text in [complaint(name, licence)] if text]
        licences[licence or "none stated"] += 1
    for licence, count in licences.most_common():
        print(f"{count:4d}  {licence}")
    print(f"{sum(licences.values())} packages read; not for this platform, so not read: {', '.join(absent) or 'none'}")
    for text in complaints:
        print(f"REFUSED  {text}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
