"""Memory that halves are widened into, and that was something else before, as memory of its own.

    call_extern ..., %8, ... {name='sgemm'}                (a product, which only the nest reads)
    for 0, 2400 { store %8, cast(... %8[%i] ...), %i }
    call_extern ..., %8, ... {name='sgemm'}
    ->
    for 0, 2400 { store %own, cast(... %8[%i] ...), %i }
    call_extern ..., %own, ...

Storage puts a value where an older one dies, as a backward pass does all the time. To what follows
it does not matter, since the nest fills all of the memory; but now it may be memory of halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod

from jitnet.codegen.cuda.elementwise import elementwise, fills, walked
from jitnet.codegen.cuda.memory import Linear, Places, references, substituted
from jitnet.ir import BufferType, Builder, Eqn, Function, Loc, Value
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion


def unshared(f: Function) -> Function:
    """The kernel Function with memory of its own for what is widened."""
    places = Places(f)
    found = {id(nest): v for region in _regions(f) for nest, v in _found(region, places)}
    return _apart(f, found, places) if found else f


def widens(eqn: Eqn) -> bool:
    """Whether it makes a float of a half."""
    return isinstance(eqn.op, Conversion) and eqn.operands[0].dtype.is_half


def _regions(f: Function) -> Iterator[Function]:
    yield f
    for eqn in f.walk():
        yield from eqn.regions


def _found(region: Function, places: Places) -> Iterator[tuple[Eqn, Value]]:
    """The nests of a region that fill memory of the region with what they widen, and that memory,
    where it is named before."""
    allocs: set[Value] = set()
    named: set[Value] = set()
    kept = {
        v for r in region.results if isinstance(r.type, BufferType) for v in places.roots[r].may
    }
    for eqn in region.eqns:
        if eqn.op is S.ALLOC and not eqn.attrs.get("heap"):
            allocs.add(eqn.result)
        elif eqn.op is S.FOR:
            v = _filled(eqn, places)
            if v is not None and v in allocs & named and v not in kept:
                yield eqn, v
        if eqn.op is not S.VIEW:
            buffers = [v for v in references(eqn) if isinstance(v.type, BufferType)]
            named.update(places.roots[v].value for v in buffers if v in places.roots)


def _filled(eqn: Eqn, places: Places) -> Value | None:
    """The memory that a nest fills with halves that it widens."""
    nest = elementwise(eqn)
    made = None if nest is None else nest.stored()
    if nest is None or made is None or not widens(made):
        return None
    root = places.roots[nest.store.operands[0]]
    dims = [d for d in root.value.buffer_type.dims if isinstance(d, int)]
    target = walked(nest.store, nest, places)
    if len(dims) < root.value.rank or root.may != {root.value} or target is None:
        return None
    whole = target.base == Linear({}) and fills(target.terms, nest, Linear({}, prod(dims)), places)
    return root.value if whole else None


def _apart(f: Function, found: dict[int, Value], places: Places) -> Function:
    env: dict[Value, Value] = {}
    views: dict[Value, list[Eqn]] = {}
    done: list[Eqn] = []
    for eqn in f.eqns:
        memory = found.get(id(eqn))
        if memory is not None:
            before = dict(env)
            done += _own(memory, views.get(memory, ()), env, eqn.loc)
            done.append(_moved(eqn, before, env))
            continue
        regions = tuple(_apart(region, found, places) for region in eqn.regions)
        if eqn.op is S.VIEW:
            views.setdefault(places.roots[eqn.result].value, []).append(eqn)
        done.append(substituted(replace(eqn, regions=regions), env))
    return replace(f, eqns=tuple(done), _hash=[])


def _own(memory: Value, views: Sequence[Eqn], env: dict[Value, Value], loc: Loc) -> Sequence[Eqn]:
    """New memory, with views like those of the old one; `env` learns what stands for what."""
    with Builder("own", "kernel") as b, b.at(loc):
        env[memory] = S.alloc(memory.dtype, memory.dims, memory.name)
        for view in views:
            (env[view.result],) = b.rebind(view, [env.get(v, v) for v in view.operands])
    return b.eqns


def _moved(eqn: Eqn, reads: Mapping[Value, Value], writes: Mapping[Value, Value]) -> Eqn:
    """A nest that stores somewhere else than it loads from."""
    env = writes if eqn.op is S.STORE else reads
    regions = tuple(
        replace(r, eqns=tuple(_moved(e, reads, writes) for e in r.eqns), _hash=[])
        for r in eqn.regions
    )
    return replace(eqn, operands=tuple(env.get(v, v) for v in eqn.operands), regions=regions)
