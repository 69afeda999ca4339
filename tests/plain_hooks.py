"""What rewritten code calls, with the meaning that Python gives it."""

from __future__ import annotations

import operator
from contextlib import contextmanager

_COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "is": operator.is_,
    "is not": operator.is_not,
    "in": lambda a, b: a in b,
    "not in": lambda a, b: a not in b,
}

_OPERATORS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "truediv",
    "//": "floordiv",
    "%": "mod",
    "**": "pow",
    "@": "matmul",
    "&": "and",
    "|": "or",
    "^": "xor",
    "<<": "lshift",
    ">>": "rshift",
}


class PlainHooks:
    """Runs one branch, iterates one loop, follows every signal. `used` counts the hooks met."""

    BREAK = "break"
    CONTINUE = "continue"

    class Return:
        def __init__(self, value):
            self.value = value

    def __init__(self):
        self.used = {}

    def _use(self, name):
        self.used[name] = self.used.get(name, 0) + 1

    # control flow

    def result(self, signal):
        assert signal is None or type(signal) is self.Return, signal
        return None if signal is None else signal.value

    def then(self, signal, rest):
        self._use("then")
        if signal is None and rest is not None:
            return rest()
        return signal

    def if_(self, condition, then, orelse, rest=None):
        self._use("if_")
        branch = then if condition else orelse
        signal = branch() if branch is not None else None
        return self.then(signal, rest)

    def while_(self, test, body, orelse, rest=None):
        self._use("while_")
        while test():
            signal = body()
            if signal is self.BREAK:
                return self.then(None, rest)
            if signal is not None and signal is not self.CONTINUE:
                return signal
        return self.then(orelse() if orelse is not None else None, rest)

    def for_(self, items, body, orelse, rest=None):
        self._use("for_")
        for item in items:
            signal = body(item)
            if signal is self.BREAK:
                return self.then(None, rest)
            if signal is not None and signal is not self.CONTINUE:
                return signal
        return self.then(orelse() if orelse is not None else None, rest)

    @contextmanager
    def handling(self):
        self._use("handling")
        yield

    @contextmanager
    def trying(self):
        self._use("trying")
        yield

    def managed(self, manager):
        self._use("managed")
        return manager

    def assert_(self, condition, message=None):
        self._use("assert_")
        if not condition:
            raise AssertionError(message()) if message is not None else AssertionError

    def raised(self, error):
        self._use("raised")
        return error

    # expressions

    def call(self, fn, /, *args, **kwargs):
        self._use("call")
        return fn(*args, **kwargs)

    def getitem(self, x, key):
        self._use("getitem")
        return x[key]

    def delitem(self, x, key):
        self._use("delitem")
        del x[key]

    def setitem(self, x, key, value):
        self._use("setitem")
        x[key] = value

    def binary(self, symbol, a, b):
        self._use("binary")
        return getattr(operator, f"__{_OPERATORS[symbol]}__")(a, b)

    def in_place(self, symbol, a, b):
        self._use("in_place")
        return getattr(operator, f"__i{_OPERATORS[symbol]}__")(a, b)

    def unary(self, symbol, x):
        self._use("unary")
        return {"-": operator.neg, "+": operator.pos, "~": operator.invert}[symbol](x)

    def attribute(self, x, name):
        self._use("attribute")
        return getattr(x, name)

    def set_attribute(self, x, name, value):
        self._use("set_attribute")
        setattr(x, name, value)

    def iterable(self, x):
        self._use("iterable")
        return x

    def text(self, *parts):
        self._use("text")
        return "".join(parts)

    def percent(self, template, values):
        self._use("percent")
        return template % values

    def formatted(self, x, conversion, spec):
        self._use("formatted")
        return format({"r": repr, "s": str, "a": ascii, "": lambda x: x}[conversion](x), spec)

    def slice(self, start, stop, step):
        self._use("slice")
        return slice(start, stop, step)

    def truth(self, x):
        self._use("truth")
        return bool(x)

    def ifexp(self, condition, then, orelse):
        self._use("ifexp")
        return then() if condition else orelse()

    def tested(self, x):
        self._use("tested")
        return x

    def and_(self, first, *others):
        self._use("and_")
        for other in others:
            if not first:
                return first
            first = other()
        return first

    def or_(self, first, *others):
        self._use("or_")
        for other in others:
            if first:
                return first
            first = other()
        return first

    def not_(self, x):
        self._use("not_")
        return not x

    def compare(self, left, *links):
        self._use("compare")
        for symbol, thunk in links:
            right = thunk()
            found = _COMPARISONS[symbol](left, right)
            if not found:
                return found
            left = right
        return found

    def compared(self, symbol, left, right):
        self._use("compared")
        return _COMPARISONS[symbol](left, right)

    def in_(self, x, container):
        self._use("in_")
        return x in container

    def not_in(self, x, container):
        self._use("not_in")
        return x not in container

    def iterate(self, items):
        self._use("iterate")
        return items

    def comprehension(self, items, element, kind, condition=None):
        self._use("comprehension")
        made = map(element, items if condition is None else filter(condition, items))
        return list(made) if kind == "list" else made
