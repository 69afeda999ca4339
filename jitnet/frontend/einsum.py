"""`np.einsum`: letters name axes; two operands at a time, each pair one `dot`.

np.einsum("bij,bjk->bik", x, y)
  %0 = dot %x, %y {contract=((2,), (1,)), batch=((0,), (0,))}
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import reductions
from jitnet.frontend.dims import broadcast_dims, require_equal, retag
from jitnet.frontend.promotion import as_array, as_dtype, result_type
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.taking import diagonal
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import Dim, Value


def einsum(*operands: Any, out: Any = None, optimize: Any = False, **kwargs: Any) -> Any:
    """`np.einsum`, with letters or with lists of axis numbers; `...` stands for leading axes.

    Raises:
        ValueRefusedError: for subscripts that do not fit the operands.
        UnsupportedFunctionError: for order= and the like.
    """
    refuse_out(out)
    dtype = kwargs.pop("dtype", None)
    if {k for k, v in kwargs.items() if (k, v) not in (("order", "K"), ("casting", "safe"))}:
        raise errors.UnsupportedFunctionError(
            f"np.einsum with {', '.join(kwargs)}", remedy="convert the operands in front"
        )
    text, given = _as_text(operands)
    arrays = [as_array(a) for a in given]
    terms, right = _without_ellipsis(*_parsed(text, len(arrays)), [x.ndim for x in arrays])
    common = result_type(*arrays) if dtype is None else supported_dtype(np.dtype(dtype), "dtype=")
    values = _agreeing(terms, [as_dtype(x, common) for x in arrays])
    if not set(right) <= set().union(*terms) or len(set(right)) != len(right):
        raise errors.ValueRefusedError(
            f"einsum: each letter of the output {right!r} must name one axis of the operands"
        )
    return _evaluated(terms, values, right)


def _as_text(operands: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """The subscripts as a string: they may come as lists of numbers behind the operands."""
    if not operands:
        raise errors.ValueRefusedError("must specify the einstein sum subscripts string")
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), operands[1:]
    arrays, lists = list(operands[0::2]), list(operands[1::2])
    result = arrays.pop() if len(arrays) > len(lists) else None
    text = ",".join(_letters(axes) for axes in lists)
    return (text if result is None else f"{text}->{_letters(result)}"), arrays


def _letters(axes: Sequence[Any]) -> str:
    return "".join("..." if a is Ellipsis else string.ascii_letters[a] for a in axes)


def _parsed(text: str, n: int) -> tuple[list[str], str]:
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != n:
        raise errors.ValueRefusedError(f"einsum: {text!r} is not about {n} operands")
    if not set(text) <= {*string.ascii_letters, *",.->"}:
        raise errors.ValueRefusedError(f"einsum: invalid subscripts {text!r}")
    if not arrow:
        letters = sorted(set(left) - {",", "."})
        once = "".join(c for c in letters if left.count(c) == 1)
        right = ("..." if "..." in left else "") + once
    return terms, right


def _without_ellipsis(terms: list[str], right: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Fresh letters for the axes that `...` stands for, aligned at their ends."""
    unused = [c for c in string.ascii_letters if not any(c in t for t in (*terms, right))]
    hidden = [rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks)]
    for t, n in zip(terms, hidden):
        if n < 0 or (n > 0 and "..." not in t) or "." in t.replace("...", "", 1):
            raise errors.ValueRefusedError(f"einsum: {t!r} does not name the axes of its operand")
    most = max(hidden)
    names = "".join(unused[:most])
    terms = [t.replace("...", names[most - n :]) for t, n in zip(terms, hidden)]
    return terms, right.replace("...", names)


def _agreeing(terms: Sequence[str], values: list[Value]) -> list[Value]:
    """The operands with the same extent wherever a letter is the same. An extent of 1 is dropped
    to it by a broadcast."""
    extent: dict[str, Dim] = {}
    for term, v in zip(terms, values):
        for c, d in zip(term, v.dims):
            known = extent.get(c, 1)
            if known != 1 and d != 1 and known is not d:
                require_equal(known, d, f"einsum: axes named {c!r} have different extents")
            extent[c] = broadcast_dims((known,), (d,))[0] if 1 in (known, d) else known
    found = []
    for term, v in zip(terms, values):
        dims = tuple(extent[c] for c in term)
        own = tuple(d if isinstance(d, int) and d == 1 else e for d, e in zip(v.dims, dims))
        v = retag(v, own)
        found.append(v if own == dims else ops.broadcast(v, dims, tuple(range(len(dims)))))
    return found


def _evaluated(terms: Sequence[str], values: Sequence[Value], right: str) -> Tracer:
    name, x = _own_diagonal(terms[0], values[0])
    for i, (term, y) in enumerate(zip(terms[1:], values[1:]), 2):
        needed = set(right).union(*terms[i:])
        name, x = _contracted(name, x, *_own_diagonal(term, y), needed)
    gone = tuple(i for i, c in enumerate(name) if c not in right)
    x = _summed(x, gone)
    name = "".join(c for c in name if c in right)
    order = [name.index(c) for c in right]
    x = x if order == sorted(order) else ops.transpose(x, order)
    return wrap(x, "array" if x.rank else "scalar")


def _summed(x: Value, axes: tuple[int, ...]) -> Value:
    return reductions.sum(wrap(x), axes, x.dtype.numpy).value if axes else x


def _own_diagonal(term: str, x: Value) -> tuple[str, Value]:
    """Axes of one operand with the same letter become one."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            x = diagonal(wrap(x), 0, i, j).value
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return term, x


def _contracted(a: str, x: Value, b: str, y: Value, needed: set[str]) -> tuple[str, Value]:
    """One product of two operands: letters that nothing needs later are summed over."""
    alone_x = tuple(i for i, c in enumerate(a) if c not in b and c not in needed)
    alone_y = tuple(i for i, c in enumerate(b) if c not in a and c not in needed)
    x, y = _summed(x, alone_x), _summed(y, alone_y)
    a = "".join(c for i, c in enumerate(a) if i not in alone_x)
    b = "".join(c for i, c in enumerate(b) if i not in alone_y)
    shared = [c for c in a if c in b]
    batch = [c for c in shared if c in needed]
    summed = [c for c in shared if c not in needed]
    found = ops.dot(
        x,
        y,
        contract=(tuple(a.index(c) for c in summed), tuple(b.index(c) for c in summed)),
        batch=(tuple(a.index(c) for c in batch), tuple(b.index(c) for c in batch)),
    )
    rest = [c for c in a if c not in shared] + [c for c in b if c not in shared]
    return "".join([*batch, *rest]), found
