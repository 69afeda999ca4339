"""Matrix products that a device's library does: the host's statement `product`.

    product 200, 180, 150, 5, %x, 150, %w, 180, %out0, 180 {steps=(30000, 27000, 36000), ...}
    product 64, 70, 100, 1, %x, 100, %w, 70, %out0, 70, %b {epilogue='bias', ...}

C = A B of row-major matrices, `count` times, and what follows it element by element. A device names
what its library can do: the kinds of elements, and the kinds with a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitnet.codegen.cuda.memory import Places, references
from jitnet.codegen.cuda.touch import Touched
from jitnet.ir import Attrs, BufferType, Effect, Eqn, Literal, Loc, Type, Value
from jitnet.kernel.statements import Statement

NO_EPILOGUE, BIAS, ADD = "", "bias", "add"
"""What else a product does: nothing, adds a number to each column, or adds a matrix."""

KINDS = ("f32", "f64", "c64", "c128", "f16", "bf16")
"""Of the elements of A and B. C's are the same; of halves, float32 too."""


def with_bias(kind: str) -> str:
    """What a device says that adds a bias to products of this kind."""
    return f"{kind} bias"


EVERYTHING = frozenset((*KINDS, with_bias("f32"), with_bias("f64")))


def _no_results(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    return ()


PRODUCT = Statement("product", Effect.WRITES, _no_results)
"""Operands: m, n, k, count; A, B and C, each with the distance of its rows; then the bias, or what
is added and the distance of its rows. Attributes:

    transposed: whether A and B lie as their transposes.
    complex: elements are pairs of numbers. Distances are in elements.
    steps: from one A, B, C, and matrix that is added, to the next one, in elements; none where
        there is but one of each.
    epilogue: what else is done.
"""


@dataclass(frozen=True)
class Product:
    """The statement's operands and attributes, by name.

    Attributes:
        extra: the bias, or what is added and the distance of its rows.
    """

    m: Value
    n: Value
    k: Value
    count: Value
    a: Value
    lda: Value
    b: Value
    ldb: Value
    c: Value
    ldc: Value
    extra: tuple[Value, ...] = ()
    transposed: tuple[bool, bool] = (False, False)
    complex: bool = False
    steps: tuple[int, ...] = ()
    epilogue: str = NO_EPILOGUE

    @staticmethod
    def of(eqn: Eqn) -> Product:
        m, n, k, count, a, lda, b, ldb, c, ldc, *extra = eqn.operands
        return Product(m, n, k, count, a, lda, b, ldb, c, ldc, tuple(extra), **eqn.attrs)

    def eqn(self, loc: Loc) -> Eqn:
        """The statement."""
        sizes = (self.m, self.n, self.k, self.count)
        matrices = (self.a, self.lda, self.b, self.ldb, self.c, self.ldc)
        named = ((name, getattr(self, name)) for name in _UNSAID)
        attrs = {name: value for name, value in named if value != _UNSAID[name]}
        return Eqn(PRODUCT, (*sizes, *matrices, *self.extra), attrs, (), (), loc)

    @property
    def kind(self) -> str:
        """Of the elements of A and B."""
        return kind_of(self.a, self.complex)


_UNSAID = {"transposed": (False, False), "complex": False, "steps": (), "epilogue": NO_EPILOGUE}
"""Attributes as they are where they are left out."""


def kind_of(buffer: Value, is_complex: bool) -> str:
    """What the elements of memory are."""
    name = buffer.dtype.name
    return {"f32": "c64", "f64": "c128"}[name] if is_complex else name


def number(v: Value) -> int | None:
    """A constant, or None."""
    return int(v.item) if isinstance(v, Literal) else None


def done_by(eqn: Eqn, places: Places) -> Touched:
    """What a product reads and writes: all of what its pointers lead to."""
    product = Product.of(eqn)
    reads = [v for v in (product.a, product.b, *product.extra) if isinstance(v.type, BufferType)]
    read = {places.roots[v]: None for v in reads}
    written = {places.roots[product.c]: None}
    found = Touched(set(references(eqn)), set(), dict(read), dict(written))
    found.reading.update(v for root in read for v in root.may)
    found.writing.update(v for root in written for v in root.may)
    return found


def remade(eqn: Eqn, operands: Sequence[Value], attrs: Attrs | None = None) -> Eqn:
    """An equation of one result on operands of other types."""
    given = eqn.attrs if attrs is None else attrs
    (type,) = eqn.op.infer(operands, given, eqn.regions)
    result = Value(type, eqn.result.name)
    return replace(eqn, operands=tuple(operands), attrs=given, results=(result,))
