"""The house: what starts without PyTorch, what `./run` promises, and what the licence check lets through."""

import ast
import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from lookonce.cli.verbs import VERBS
from lookonce.exporters.formats import FORMATS
from lookonce.runtimes.registry import RUNTIMES

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT_ROOT / "src" / "lookonce"
SOURCES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TRAIN_EXTRA = ("torch", "torchvision", "onnx")
# Verbs whose modules import PyTorch at once; the others import it within functions, for checkpoints. Import Linter's
# `forbidden` does not tell the two apart, so imports are followed here.
VERBS_WITH_TORCH = {"train", "verify"}


def imported_at_once(body: Sequence[ast.stmt]) -> Iterator[str]:
    """What importing a module imports: its own statements, those within functions and TYPE_CHECKING left out."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules = (f"{node.module}.{name.name}" for name in node.names)
            yield from (module if module in SOURCES else str(node.module) for module in modules)
        elif isinstance(node, ast.Try) or (isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)):
            yield from imported_at_once(node.body)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


@cache
def imports_of(module: str) -> frozenset[str]:
    return frozenset(imported_at_once(tree_of(module).body))


def loaded_with(*modules: str) -> set[str]:
    """The modules, and all that is loaded when they are imported."""
    loaded: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in loaded:
            loaded.add(module)
            waiting += imports_of(module) if module in SOURCES else ()
    return loaded


def needs_train_extra(module: str) -> bool:
    return any(name.partition(".")[0] in TRAIN_EXTRA for name in loaded_with(module))


def modules_of_base_install() -> list[str]:
    """What loads without the train extra: the doors, the verbs that start there, and the runtimes that it has."""
    verbs = {verb.target.partition(":")[0] for name, verb in VERBS.items() if name not in VERBS_WITH_TORCH}
    runtimes = {kind.opens.partition(":")[0] for kind in RUNTIMES.values() if kind.extra != "train"}
    loaded = loaded_with("lookonce.cli.main", "lookonce.api", *verbs, *runtimes)
    return sorted(loaded & SOURCES.keys())


def test_the_verbs_whose_modules_import_pytorch_are_those_that_are_named() -> None:
    assert {
        name for name, verb in VERBS.items() if needs_train_extra(verb.target.partition(":")[0])
    } == VERBS_WITH_TORCH


# ---- imports by text: tables whose entries are imported when they are used

TARGET = re.compile(r"lookonce(\.\w+)+(:\w+)?")


def targets() -> list[tuple[str, str]]:
    """(module, what it names) for each string in the sources that is a module, or one and a name in it."""
    return [
        (module, node.value)
        for module in SOURCES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and TARGET.fullmatch(node.value)
    ]


def floors() -> dict[str, int]:
    """Room -> number of its line of the layers in pyproject.toml, the highest first."""
    contracts = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    return {name: floor for floor, line in enumerate(layers) for name in re.findall(r"\w+", line)}


def test_the_tables_that_import_by_text_are_among_the_targets() -> None:
    written = {target for _, target in targets()}
    assert {verb.target for verb in VERBS.values()} <= written
    assert {kind.opens for kind in RUNTIMES.values()} <= written
    assert {known.writer for known in FORMATS.values() if known.writer} <= written


def test_what_is_imported_by_text_is_there_and_not_above() -> None:
    floor = floors()
    for module, target in targets():
        name, _, attribute = target.partition(":")
        assert name in SOURCES, target
        found = getattr(importlib.import_module(name), attribute) if attribute else name
        assert callable(found) or isinstance(found, Collection), target
        if module != "lookonce":  # the package itself is above all
            own, theirs = (one.split(".")[1] for one in (module, name))
            assert own == theirs or floor[own] < floor[theirs], f"{module} names {target}"


# ---- who prints: the command line alone

# Programs of their own, which other processes start and read: the first two with another Python's packages.
PROGRAMS = {"lookonce.runtimes.mindspore_program", "lookonce.weights.pickled", "lookonce.workflows.bench_process"}


def prints(module: str) -> list[int]:
    """Lines that call print, take stdout for something to write to, or import cyclopts."""
    found = []
    for node in ast.walk(tree_of(module)):
        is_print = isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        is_stdout = isinstance(node, ast.Attribute) and ast.unparse(node).startswith("sys.stdout.write")
        is_console = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Console") and not node.keywords
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if is_print or is_stdout or is_console or "cyclopts" in names:
            found.append(getattr(node, "lineno", 0))
    return found


def test_only_the_command_line_prints_and_knows_cyclopts() -> None:
    silent = [module for module in SOURCES if module not in PROGRAMS and not module.startswith("lookonce.cli")]
    assert {module: lines for module in silent if (lines := prints(module))} == {}


def test_what_a_verb_returns_has_a_text() -> None:
    functions = {module: {getattr(node, "name", "") for node in tree_of(module).body} for module in SOURCES}
    modules = {name: verb.target.partition(":")[0] for name, verb in VERBS.items()}
    assert {name for name, module in modules.items() if "as_text" not in functions[module]} == set()


def run_python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)


# Imports each module that it is given. sys.argv[1]: modules that are absent; a None in sys.modules makes `import torch`
# fail as if it were not installed. cv2 adds to LD_LIBRARY_PATH, rich draws a number.
IMPORT_EACH = """
import importlib, os, random, socket, sys
import cv2, numpy, rich.default_styles
absent, *names = sys.argv[1:]
sys.modules.update(dict.fromkeys(filter(None, absent.split(","))))
seed = "torch" in sys.modules or importlib.import_module("torch").initial_seed
def state():
    return dict(os.environ), random.getstate(), str(numpy.random.get_state()), seed is True or seed(), sys.argv[:]
def refuse(*args, **kwargs):
    raise RuntimeError("an import opens a socket")
before = state()
socket.socket.connect = refuse
for name in names:
    importlib.import_module(name)
parts = ("environment", "random", "numpy.random", "torch's seed", "argv")
changed = [part for part, old, new in zip(parts, before, state(), strict=True) if old != new]
assert not changed, changed
"""


def test_base_install_imports_where_there_is_no_torch_and_leaves_the_process_as_it_was() -> None:
    names = modules_of_base_install()
    assert len(names) > 100
    done = run_python(IMPORT_EACH, ",".join(TRAIN_EXTRA), *names)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # PyTorch and its exporter take ten seconds to load; the test above imports most modules
def test_importing_everything_leaves_the_process_as_it_was() -> None:
    programs = ("__main__", "mindspore_program")  # the second one's Python is another
    done = run_python(IMPORT_EACH, "", *(module for module in SOURCES if not module.endswith(programs)))
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_loading_what_is_slow_to_load() -> None:
    code = """
import sys
import lookonce.cli.main
print(*sorted({"torch", "onnxruntime", "cv2"} & set(sys.modules)))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_no_module_is_named_for_nothing() -> None:
    assert not {path.stem for path in PACKAGE.rglob("*")} & {"utils", "misc", "common", "helpers"}


def test_version_is_one_fact() -> None:
    stated = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f'__version__ = "{stated}"' in (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert f"\nversion: {stated}\n" in (PROJECT_ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.search(r"^## \[?([^\]\n]+)", (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] in (stated, "Unreleased")


def test_decisions_are_numbered_without_gaps_and_say_context_decision_consequence() -> None:
    pages = sorted((PROJECT_ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"\*\*(Context|Decision|Consequence)\.\*\*", text) == [
            "Context",
            "Decision",
            "Consequence",
        ], page


# ---- ./run, in a copy of its own with stand-ins for uv and for the environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a space and an umlaut in its path that holds `run`; uv and the commands print their arguments."""
    root = tmp_path / "näher dran" / "look once"
    (root / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    shutil.copy(PROJECT_ROOT / "run", root / "run")
    stand_in(tmp_path / "bin" / "uv", 'case $1 in --version) exit 0 ;; esac; echo "uv $*" >&2')
    for name in ("python", "lookonce"):
        stand_in(root / ".venv" / "bin" / name, f'printf "%s|" {name} "$PWD" "$@"')
    return root


def stand_in(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def call(checkout: Path, *args: str, program: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    tools = checkout.parents[1] / "bin"
    return subprocess.run(
        [str(program or checkout / "run"), *args],
        cwd=tools,
        env={"PATH": f"{tools}:{os.defpath}", "HOME": str(checkout), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_run_passes_a_verb_and_its_arguments_on_as_they_are_from_where_the_user_stands(checkout: Path) -> None:
    done = call(checkout, "eval", "--data", "two words", "*", "")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"lookonce|{checkout.parents[1] / 'bin'}|eval|--data|two words|*||"


def test_run_lookonce_and_a_bare_verb_are_the_same(checkout: Path) -> None:
    assert call(checkout, "lookonce", "train", "--help").stdout == call(checkout, "train", "--help").stdout


def test_run_test_calls_pytest_at_the_root_of_the_checkout(checkout: Path) -> None:
    assert call(checkout, "test", "-k", "a b").stdout == f"python|{checkout}|-m|pytest|-k|a b|"


def test_run_test_may_write_bytecode(checkout: Path) -> None:
    stand_in(checkout / ".venv" / "bin" / "python", 'echo "${PYTHONDONTWRITEBYTECODE:-may}"')
    told = [
        call(checkout, verb, PYTHONDONTWRITEBYTECODE="1", UV_NO_SYNC="1").stdout.strip() for verb in ("test", "python")
    ]
    assert told == ["may", "1"]


def test_run_works_through_a_symbolic_link(checkout: Path) -> None:
    link = checkout.parents[1] / "elsewhere"
    link.symlink_to(checkout / "run")
    assert call(checkout, "info", program=link).stdout.endswith("|info|")


def test_run_installs_exactly_what_is_locked_and_leaves_a_chosen_environment_alone(checkout: Path) -> None:
    assert f"uv sync --project {checkout} --locked" in call(checkout, "info").stderr
    chosen = call(checkout, "info", UV_NO_SYNC="1")
    assert chosen.returncode == 0
    assert chosen.stderr == ""


def test_run_compiles_all_packages_once_for_each_lock_where_python_may_not(checkout: Path) -> None:
    stand_in(checkout.parents[1] / "bin" / "uv", 'echo "uv ${UV_COMPILE_BYTECODE:-0}" >&2')

    def compiled(**env: str) -> bool:
        return "uv 1" in call(checkout, "info", **env).stderr

    for lock in ("first", "second"):
        (checkout / "uv.lock").write_text(lock, encoding="utf-8")
        assert not compiled()
        assert not compiled(PYTHONDONTWRITEBYTECODE="1", UV_NO_SYNC="1")
        assert [compiled(PYTHONDONTWRITEBYTECODE="1") for _ in range(2)] == [True, False]


def test_run_says_once_that_it_sets_up(checkout: Path) -> None:
    assert "Setting up once" not in call(checkout, "info").stderr
    (checkout / ".venv" / "bin" / "lookonce").unlink()
    assert "GB" in call(checkout, "python").stderr


def test_run_says_what_to_do_when_setting_up_fails(checkout: Path) -> None:
    stand_in(checkout.parents[1] / "bin" / "uv", 'case $1 in --version) exit 0 ;; esac; echo "no route" >&2; exit 2')
    done = call(checkout, "info")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no route" in done.stderr
    assert "Python 3.11" in done.stderr


NO_WHEEL = "no wheel for the current platform"  # as uv says it


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("no space left", "no space left"),
        (NO_WHEEL, "no route"),
        ("failed to build", ""),
    ],
)
def test_run_gives_one_reason_and_tries_what_training_needs(checkout: Path, first: str, second: str) -> None:
    of_train = f'echo "{second}" >&2; exit 2' if second else "exit 0"
    answers = f'case "$*" in *train*) {of_train} ;; --version) exit 0 ;; esac; echo "{first}" >&2; exit 2'
    stand_in(checkout.parents[1] / "bin" / "uv", answers)
    done = call(checkout, "info")
    assert done.returncode == (1 if second else 0)
    assert all(done.stderr.count(reason) == 1 for reason in {first, second} - {""})


def test_run_names_the_package_to_install_where_python_has_no_venv(checkout: Path) -> None:
    tools = checkout.parents[1] / "bin"
    stand_in(tools / "uv", "exit 127")
    stand_in(tools / "python3", "case $2 in *ensurepip*) exit 1 ;; esac; exec false")
    done = call(checkout, "demo")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("apt install python3-venv")


def test_run_is_replaced_by_the_command_so_that_a_kill_reaches_it(checkout: Path) -> None:
    stand_in(checkout / ".venv" / "bin" / "lookonce", 'echo "$$"')
    tools = checkout.parents[1] / "bin"
    process = subprocess.Popen(
        [checkout / "run", "info"],
        env={"PATH": f"{tools}:{os.defpath}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, _ = process.communicate()
    assert int(out) == process.pid


# ---- licences


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    return of_ci("licences")


def of_ci(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROJECT_ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-or-later", "AGPL-3.0", "GNU Affero General Public License v3", "MIT AND GPL-2.0-only", "LGPL-2.1", ""],
)
def test_licences_that_bind_the_user_or_say_nothing_are_refused(licences: ModuleType, licence: str) -> None:
    assert licences.complaint("some-package", licence)


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "BSD License", "MPL-2.0", "MIT OR GPL-3.0-only"])
def test_free_licences_pass(licences: ModuleType, licence: str) -> None:
    assert licences.complaint("some-package", licence) is None


def test_locked_names_follow_dependencies_extras_and_groups(licences: ModuleType) -> None:
    lock = {
        "package": [
            {
                "name": "lookonce",
                "dependencies": [{"name": "a"}],
                "optional-dependencies": {"train": [{"name": "b"}]},
                "dev-dependencies": {"dev": [{"name": "c"}]},
            },
            {"name": "a", "dependencies": [{"name": "d", "marker": "sys_platform == 'win32'"}]},
            *({"name": name} for name in ("b", "c", "d", "unneeded")),
        ]
    }
    assert licences.locked_names(lock, groups=False) == {"a", "b", "d"}
    assert licences.locked_names(lock, groups=True) == {"a", "b", "c", "d"}
    assert licences.locked_names(lock, groups=True, without="train") == {"a", "c", "d"}


def test_licences_of_npm_packages_are_read(licences: ModuleType) -> None:
    found = licences.npm_licences(PROJECT_ROOT / "src" / "lookonce" / "web" / "package-lock.json")
    assert found == {"node_modules/onnxruntime-web": "MIT"}


# ---- vulnerabilities, and the list of what is inside


def test_a_service_that_cannot_be_reached_is_a_warning_and_a_finding_is_an_error() -> None:
    audit = of_ci("audit")
    assert [audit.of_uv(status, "", "")[0] for status in (0, 1, 2, -1)] == [True, False, None, None]
    clean, found = (json.dumps({"metadata": {"vulnerabilities": {"total": total}}}) for total in (0, 2))
    assert audit.of_npm(0, clean, "")[0] is True
    assert audit.of_npm(1, found, "")[0] is False
    assert audit.of_npm(1, '{"message": "ECONNREFUSED"}', "")[0] is None
    assert audit.of_npm(-1, "", "no npm")[0] is None


def test_the_bill_of_materials_names_every_locked_package(licences: ModuleType) -> None:
    (command,) = re.findall(r"^(\./run uv export .*cyclonedx.*)$", (PROJECT_ROOT / "CONTRIBUTING.md").read_text(), re.M)
    told = shlex.split(command.partition(" --output-file")[0])
    done = subprocess.run([*told, "--offline"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    named = {component["name"] for component in bill["components"]}
    lock = tomllib.loads((PROJECT_ROOT / "uv.lock").read_text(encoding="utf-8"))
    assert named - {"lookonce"} == licences.locked_names(lock, groups=False)
