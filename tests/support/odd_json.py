"""JSON documents with one value replaced, removed or repeated, as an edit by hand or another program leaves them."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

DEEP: Any = 0
for _ in range(300):
    DEEP = [DEEP]
ODD_VALUES = (
    *(None, True, 0, 1, -1, 0.5, -0.0, 1e308, float("inf"), float("nan"), 2**31, 2**63, -(2**63) - 1, 10**400),
    *("", "a", "1", "nan", "../../x", "a\0b", "\ud800", "\x1b[2J", "=1+1", "x" * 5000),
    *([], {}, [[]], [None], {"a": {}}, [1] * 5000, DEEP),
)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key or index) of every value in the tree."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from places(value)


def with_odd_value(document: Any, generator: np.random.Generator) -> Any:
    """A copy of the document with one change."""
    whole = [copy.deepcopy(document)]
    known = list(places(whole))
    container, key = known[int(generator.integers(len(known)))]
    match int(generator.integers(6)):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.append(container[key])
        case 2 if isinstance(container, dict):
            container[f"{key}x"] = container.pop(key)
        case _:
            container[key] = ODD_VALUES[int(generator.integers(len(ODD_VALUES)))]
    return whole[0] if whole else None
