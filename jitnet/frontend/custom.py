"""Functions with derivative rules of their own: what `custom_jvp` and `custom_vjp` return.

    @custom_jvp
    def f(x): ...

    @f.defjvp
    def rule(primals, tangents): ...

Called outside of a compiled function, `f` is the plain function. Inside of one, `custom_tracing`
traces it together with its rules.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any

from jitnet import errors
from jitnet.frontend.closures import Wrapper
from jitnet.frontend.context import current_trace

Apply = Callable[..., Any]


class CustomFunction(Wrapper):
    """A function with rules for its derivative, in forward mode, reverse mode, or both."""

    def __init__(self, fn: Callable[..., Any], nondiff_argnums: tuple[int, ...], apply: Apply):
        rules: dict[str, Callable[..., Any]] = {}
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._rules = rules

        def traced(*args: Any, **kwargs: Any) -> Any:
            return apply(fn, rules, nondiff_argnums, args, kwargs)

        self.__wrapped__ = functools.update_wrapper(traced, fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = self._fn if current_trace() is None else self.__wrapped__
        return run(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """The rule for forward mode, which reverse mode uses too where there is no other.

        Args:
            rule: `(*nondiff_args, primals, tangents) -> (result, tangent of the result)`; primals
                and tangents are tuples with one item for each other argument. The tangent of what
                is no float is zero. It must be linear in the tangents.

        Returns:
            The rule, so that this is a decorator too.
        """
        self._rules["jvp"] = _checked(rule, "defjvp")
        return rule

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """The rule for reverse mode.

        Args:
            forward: takes all arguments, returns `(result, residuals)`; residuals are any tree.
            backward: `(*nondiff_args, residuals, cotangent of the result) -> cotangents`, a tuple
                with a tree for each other argument, or None for zeros.
        """
        self._rules["forward"] = _checked(forward, "defvjp")
        self._rules["backward"] = _checked(backward, "defvjp")


def _checked(rule: Any, method: str) -> Any:
    if not callable(rule):
        raise errors.ArgumentError(f"{method} takes functions, not {type(rule).__name__}")
    return rule
