"""Settings in YAML files: reads names with their line numbers, and writes settings."""

import json
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lookonce.errors import SettingsError
from lookonce.parsed import compose_yaml, construct_yaml
from lookonce.settings.aliases import BY_OLD_NAME
from lookonce.settings.schema import GROUPS, Settings, group_of, help_of, unit_of
from lookonce.storage import read_regular_file


class Entry(NamedTuple):
    """One option of one source. place: "command line", "mine.yaml line 3", "recipe modern"."""

    name: str
    value: Any
    place: str
    path: Path | None = None  # of a place in a file
    line: int | None = None

    @property
    def is_documents(self) -> bool:
        """Whether this is a model zoo option and not also one of our settings."""
        return self.name in BY_OLD_NAME and self.name not in Settings.model_fields

    @property
    def is_default(self) -> bool:
        """Whether this is a model zoo option at the model zoo's default."""
        return self.name in BY_OLD_NAME and BY_OLD_NAME[self.name].is_default(self.value)


def read_entries(path: Path) -> list[Entry]:
    """The names and values of a YAML file, in file order; `-` in names becomes `_`.

    Only the first YAML document is read: the model zoo's files describe their options in further ones.
    """
    try:
        text = read_regular_file(path).decode("utf-8")
    except OSError as error:
        raise SettingsError.at(
            path, f"cannot be read ({error.strerror or error}); expected a YAML file; check the path"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError.at(path, "not UTF-8 text; expected a YAML file; check the path") from None
    try:
        return _entries(path, compose_yaml(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        place = f"{path} line {line}" if line else path
        raise SettingsError(f"{place}: invalid YAML: {error.problem}", path=path, line=line) from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError.at(path, f"invalid YAML: {error}") from None


def _entries(path: Path, root: yaml.Node | None) -> list[Entry]:
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(
            f"{path} line 1: expected lines of the form `name: value`, for example `batch_size: 16`", path=path, line=1
        )
    entries: dict[str, Entry] = {}
    for key, node in root.value:
        name = str(key.value).replace("-", "_")
        line = key.start_mark.line + 1
        place = f"{path} line {line}"
        if name in entries:
            problem = f"{place}: duplicate setting {name}, first given in {entries[name].place}; keep one"
            raise SettingsError(problem, setting=name, path=path, line=line)
        try:
            entries[name] = Entry(name, construct_yaml(node), place, path, line)
        except ValueError as error:
            raise SettingsError(
                f"{place}: {name}: {error}; expected a value", setting=name, path=path, line=line
            ) from error
    return list(entries.values())


def to_yaml(settings: Settings, *, comments: bool = False) -> str:
    """Settings as YAML that `read_entries` reads back; comments: adds group headings, help and units."""
    lines = []
    for group, title in GROUPS.items():
        lines += ["", f"# {title}"] if comments else []
        for name in Settings.model_fields:
            if group_of(name) == group:
                text = f"{help_of(name)} [{unit_of(name)}]" if unit_of(name) else help_of(name)
                lines += textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ") if comments else []
                lines.append(f"{name}: {_yaml_value(getattr(settings, name))}")
    return "\n".join(lines).lstrip("\n") + "\n"


def _yaml_value(value: Any) -> str:
    """A value as one line of YAML, with lists in brackets."""
    plain = json.loads(json.dumps(value, default=str))  # tuples -> lists, paths -> text
    return yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")
