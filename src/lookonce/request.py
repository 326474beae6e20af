"""A verb whose options are the fields of one dataclass."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast, get_type_hints

P = ParamSpec("P")
Request = TypeVar("Request")
Result = TypeVar("Result")


def takes(request: Callable[P, Request]) -> Callable[[Callable[[Request], Result]], Callable[P, Result]]:
    """A function of one request becomes one of its fields: verb(Request(a=1)) is called as verb(a=1).

    Signature and docstring are those of the dataclass, so each option and its help stand in one place.
    """

    def decorate(function: Callable[[Request], Result]) -> Callable[P, Result]:
        @wraps(function)
        def verb(*args: P.args, **options: P.kwargs) -> Result:
            return function(request(*args, **options))

        result = get_type_hints(function)["return"]
        known = cast("Any", verb)  # to mypy a Callable has no attributes
        known.__signature__ = inspect.signature(request).replace(return_annotation=result)
        known.__annotations__ = get_type_hints(request, include_extras=True) | {"return": result}
        known.__doc__ = request.__doc__
        return verb

    return decorate
