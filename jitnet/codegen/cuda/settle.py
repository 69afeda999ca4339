"""Loops over small states, whose buffers change places from step to step, as one kernel's work.

    %u: buf, %v: buf = for 0, 100, %a, %b { ...; return %v, %u }      (users of %u)
    ->
    %u: buf, %v: buf = for 0, 100, %a, %b {settled=True} { ... }
    %last = alloc 64;  for 0, 64 { store %last, %u[%i], %i }          (users of %last)

Which memory such a loop ends in is known in the kernel only. Its content is small, so it is copied
to where the host knows it; then a thousand steps are one launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from jitnet.codegen.cuda.memory import references, static_strides, substituted
from jitnet.ir import BufferType, Builder, Eqn, Function, Value
from jitnet.kernel import statements as S

LARGEST_STATE = 8192
"""Elements of a buffer that is copied at the end of a loop."""


def settled(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with copies behind loops that end in one of several buffers; `drives`
    says of a loop whether the host carries it out, its results aside."""

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        env: dict[Value, Value] = {}
        for n, given in enumerate(f.eqns):
            eqn = substituted(given, env) if env else given
            if eqn.regions and drives(eqn):
                eqns.append(replace(eqn, regions=tuple(map(region, eqn.regions))))
            elif any(_is_buffer(r) for r in eqn.results) and eqn.op in (S.FOR, S.WHILE):
                used = {v for later in f.eqns[n + 1 :] for v in references(later)} | {*f.results}
                eqns += _with_copies(eqn, used, env)
            else:
                eqns.append(eqn)
        results = tuple(env.get(v, v) for v in f.results)
        return replace(f, eqns=tuple(eqns), results=results, _hash=[])

    return region(f)


def _with_copies(eqn: Eqn, used: set[Value], env: dict[Value, Value]) -> Sequence[Eqn]:
    buffers = [r for r in eqn.results if _is_buffer(r) and r in used]
    if not all(map(_is_small, buffers)):
        return (eqn,)
    with Builder("settled", "kernel") as b, b.at(eqn.loc):
        for buffer in buffers:
            last = S.alloc(buffer.dtype, buffer.buffer_type.dims, buffer.name)
            _copy(buffer, last)
            env[buffer] = last
    allocs = [e for e in b.eqns if e.op is S.ALLOC]
    copies = [e for e in b.eqns if e.op is not S.ALLOC]
    return [*allocs, replace(eqn, attrs={**eqn.attrs, "settled": True}), *copies]


def _is_buffer(v: Value) -> bool:
    return isinstance(v.type, BufferType)


def _is_small(buffer: Value) -> bool:
    """Whether it is contiguous, of a known size, and worth less than a launch."""
    type = buffer.buffer_type
    dims = [d for d in type.dims if isinstance(d, int)]
    if len(dims) < type.rank or prod(dims) > LARGEST_STATE:
        return False
    return static_strides(type) == static_strides(BufferType(type.dtype, type.dims))


def _copy(source: Value, to: Value) -> None:
    dims = source.buffer_type.dims

    def level(at: tuple[Value, ...]) -> None:
        if len(at) == len(dims):
            S.store(to, S.load(source, *at), *at)
        else:
            extent = dims[len(at)]
            assert isinstance(extent, int)
            S.loop(0, extent, lambda i: level((*at, i)), kind="vector", name="i")

    level(())
