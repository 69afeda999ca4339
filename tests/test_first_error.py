"""Which error a program raises that makes more than one: the first in the order of its lines, be it
known while the function is traced or only when it runs."""

from __future__ import annotations

import numpy as np
import pytest

from jitnet import errors, jit

X = np.arange(4.0)


class OwnError(Exception):
    """One of the user's."""


def index_then_raise(x, i):
    y = x[i]
    raise ValueError("too late")
    return y


def index_then_own_error(x, i):
    x[i] = 1.0
    raise OwnError("own", 3)


def index_then_assert(x, i):
    y = x[i]
    assert False, "never"  # noqa: B011, PT015
    return y


def index_then_shapes(x, i):
    y = x[i] + x
    return y + np.ones(3)


def index_then_key(x, i):
    y = x[i]
    return {"a": y}["b"]


def index_then_zero(x, i):
    y = x[i]
    return y, 1 // 0


def index_then_other_index(x, i):
    y = x[i]
    return y + x[9]


def raise_then_index(x, i):
    if x[0] > 5:
        raise OwnError("first")
    y = x[i]
    raise ValueError("too late")
    return y


def division_then_raise(x, i):
    k = 8 // i
    raise ValueError(f"after {k}")


def raise_in_a_helper(x, i):
    y = x[i]
    index_then_raise(x, 1)
    return y


FUNCTIONS = [
    index_then_raise,
    index_then_own_error,
    index_then_assert,
    index_then_shapes,
    index_then_key,
    index_then_zero,
    index_then_other_index,
    raise_then_index,
    division_then_raise,
    raise_in_a_helper,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("start", [0.0, 6.0])
def test_the_first_error_wins(function, start):
    compiled = jit(function)
    for i in (1, 7, -9, 0, 2):
        with pytest.raises(Exception) as expected:
            function(X + start, i)
        with pytest.raises(type(expected.value)) as got:
            compiled(X + start, i)
        if not isinstance(got.value, errors.JitnetError):
            assert str(got.value) == str(expected.value).partition("\n")[0]  # without pytest's part


def test_what_is_printed_before(capsys):
    def shown(x):
        print("x is", x[0])
        raise ValueError("after it")

    with pytest.raises(ValueError, match="after it"):
        jit(shown)(X)
    assert capsys.readouterr().out == "x is 0.0\n"


def test_an_error_with_nothing_in_front_of_it_is_raised_at_once():
    error = OwnError("this very one")

    def fails(x):
        y = x * 2
        raise error
        return y

    with pytest.raises(OwnError) as caught:
        jit(fails)(X)
    assert caught.value is error


def test_a_function_that_cannot_be_traced_is_refused_whatever_comes_before():
    def refused(x, i):
        y = x[i]
        return np.linalg.svd(np.ones((2, 2)) * y)

    with pytest.raises(errors.UnsupportedFunctionError):
        jit(refused)(X, 9)
