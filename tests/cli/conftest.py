"""A verb made for a test."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from lookonce.cli.verbs import VERBS, Verb


@pytest.fixture
def add_verb(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a function the verb `try`."""

    def add(function: Callable[..., Any], **options: Any) -> None:
        module = types.ModuleType("lookonce_tried")
        module.function = function  # type: ignore[attr-defined]
        module.as_text = lambda _: ()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lookonce_tried", module)
        monkeypatch.setitem(VERBS, "try", Verb(target="lookonce_tried:function", summary="Try.", **options))

    return add
