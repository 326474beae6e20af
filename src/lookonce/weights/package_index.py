"""Finds a file on the package index that the user has configured for uv or pip; PyPI if none is configured."""

import configparser
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from lookonce.errors import WeightsError, needing_extra
from lookonce.remote.urls import without_credentials

PYPI = "https://pypi.org/simple/"
VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


def file_url(project: str, file_name: str) -> tuple[str, int | None]:
    """URL of a project's file on the index, and its size in bytes if the index knows it. Nothing is installed."""
    with needing_extra("reading a package index", "pull"):
        import requests
        from pypi_simple import NoSuchProjectError, PyPISimple
    index = index_url()
    parts, address = urlsplit(index), without_credentials(index)
    auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    try:
        with PyPISimple(address, auth=auth) as client:
            client.s.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("PIP_CERT") or True
            page = client.get_project_page(project, timeout=30)
    except (requests.RequestException, NoSuchProjectError, ValueError) as error:
        raise WeightsError(f"{address}: {project} cannot be looked up ({error})") from error
    found = next((package for package in page.packages if package.filename == file_name), None)
    if found is None:
        raise WeightsError(f"{address}: {project} has no file {file_name}", value=file_name)
    return with_credentials(found.url, index), found.size


def index_url() -> str:
    """The index of uv's or pip's environment variables, else of uv's files, else of pip's, else PyPI."""
    configured = chain((os.environ.get(name) for name in VARIABLES), _of_uv_files(), _of_pip_files())
    return next((url.strip() for url in configured if url and url.strip()), PYPI)


def _of_uv_files() -> Iterator[str | None]:
    named = os.environ.get("UV_CONFIG_FILE")
    for path in (named and Path(named), _user_folder() / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        if path and path.is_file():
            with _errors_named(path):
                table = tomllib.loads(path.read_text(encoding="utf-8"))
                yield from (index.get("url") for index in table.get("index", []) if index.get("default"))
                yield table.get("index-url") or table.get("pip", {}).get("index-url")


def _of_pip_files() -> Iterator[str | None]:
    named = os.environ.get("PIP_CONFIG_FILE")
    folders = (Path(sys.prefix), _user_folder() / "pip", Path.home() / ".pip", Path("/etc"), Path("/etc/xdg/pip"))
    for path in (*([Path(named)] if named else []), *(folder / "pip.conf" for folder in folders)):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        with _errors_named(path):
            parser.read(path, encoding="utf-8")  # a missing file is an empty one
        yield from (parser.get(section, "index-url", fallback=None) for section in ("install", "global"))


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, AttributeError, TypeError, configparser.Error) as error:
        problem = f"cannot be read ({' '.join(str(error).split())}); correct it, or set {VARIABLES[0]}"
        raise WeightsError.at(path, problem) from error


def _user_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def with_credentials(url: str, index: str) -> str:
    """The URL with the name and password of the index, if it is on the same host and has none."""
    file, of_index = urlsplit(url), urlsplit(index)
    credentials, at, _ = of_index.netloc.rpartition("@")
    if not at or file.username is not None or (file.scheme, file.hostname) != (of_index.scheme, of_index.hostname):
        return url
    return urlunsplit(file._replace(netloc=f"{credentials}@{file.netloc}"))
