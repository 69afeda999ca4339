"""Kernel statements as C++: loads and stores, loops, branches, errors.

    %a = load %x, %i, 2         const float a = x[i * 64 + 2];
    store %y, %a, %i            y[i] = a;

Where a block does one thing *together*, all of its threads run the same code; loops whose
iterations are independent are shared out among them, the first thread writes what is written
outside of these, and a barrier stands wherever one thread might read what another one has written.
Folds go by a fixed tree, so that results are the same from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitnet.codegen.cuda.atomics import take_in
from jitnet.codegen.cuda.inline import LONGEST, inlined
from jitnet.codegen.cuda.memory import Root
from jitnet.codegen.cuda.rows import assign, expression, is_scalar_op, row
from jitnet.codegen.cuda.scans import SCANNED, Scan, find_scan, scan_of
from jitnet.codegen.cuda.state import (
    FEWEST_SHARED_OUT,
    INT_MAX,
    MOST_SHARED,
    State,
    barrier,
    bind_levels,
    comment,
    fold_of,
    is_chosen,
    is_shared_out,
    neutral,
    perfect_nest,
    place,
    scalar_op,
    shared_points,
    trips,
)
from jitnet.codegen.cuda.text import C_TYPES, stripped
from jitnet.codegen.state import ErrorSite
from jitnet.codegen.vectorize import IDEMPOTENT
from jitnet.codegen.workspace import static_bytes
from jitnet.ir import BufferType, Eqn, Function, Literal, Op, Type, Value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S

MOST_UNROLLED = 32
"""Equations of a loop up to which the compiler decides how often it is written out."""

CHOSEN = 8
"""Rounds that a thread tests before those that are chosen are run."""

# -- statements ------------------------------------------------------------------------------------


def emit(k: State, eqns: Sequence[Eqn], last: Sequence[Value] = ()) -> None:
    """Write statements. `last`: values that are used once more, right behind them."""
    short = inlined(eqns, k.uses, last, not k.together)
    for eqn in eqns:
        if is_scalar_op(eqn) or eqn.op is S.LOAD:
            _emit_value(k, eqn, eqn in short)
        else:
            comment(k, eqn.loc)
            _EMITTERS[eqn.op](k, eqn)


def _emit_value(k: State, eqn: Eqn, is_short: bool) -> None:
    """A scalar: a variable, or an expression that is written where it is used."""
    if k.uses and not k.uses[eqn.result]:
        return
    type, text = _value(k, eqn)
    reads = _reads_of(k, eqn.operands) | ({k.roots[eqn.operands[0]]} if eqn.op is S.LOAD else set())
    if is_short and len(text) <= LONGEST:
        k.names[eqn.result] = text
        k.within[eqn.result] = reads
        return
    k.read |= reads
    comment(k, eqn.loc)
    k.names[eqn.result] = k.w.let(type, stripped(text), eqn.result.name)


def _reads_of(k: State, values: Sequence[Value]) -> set[Root]:
    """The memory that expressions read which are written here: perhaps behind a barrier that stands
    behind their loads."""
    return set[Root]().union(*(k.within.get(v, ()) for v in values))


def _value(k: State, eqn: Eqn) -> tuple[str, str]:
    """The type and the text of a scalar."""
    type = C_TYPES[eqn.result.dtype]
    if eqn.op is S.LOAD:
        return type, _loaded(k, eqn)
    bounds = _bounds(k, eqn)
    if bounds is None:
        return type, expression(k.unit, eqn, [k.text(v) for v in eqn.operands])
    k.ranges[eqn.result] = bounds
    a, b = (k.number(v) for v in eqn.operands)
    return "int", f"({_PLAIN[eqn.op].format(a, b)})"


_PLAIN: dict[Op, str] = {
    s.add: "{0} + {1}",
    s.sub: "{0} - {1}",
    s.mul: "{0} * {1}",
    s.quotient: "{0} / {1}",
    s.residue: "{0} % {1}",
    s.minimum: "{0} < {1} ? {0} : {1}",
    s.maximum: "{0} > {1} ? {0} : {1}",
}


def _bounds(k: State, eqn: Eqn) -> tuple[int, int] | None:
    """The range of an i64 that is arithmetic of small ones, where it is small too."""
    if eqn.op not in _PLAIN or eqn.result.dtype is not T.i64:
        return None
    given = [k.range(v) for v in eqn.operands]
    if given[0] is None or given[1] is None:
        return None
    (a, b), (c, d) = given[0], given[1]
    if eqn.op is s.minimum:
        low, high = min(a, c), min(b, d)
    elif eqn.op is s.maximum:
        low, high = max(a, c), max(b, d)
    elif eqn.op is s.add:
        low, high = a + c, b + d
    elif eqn.op is s.sub:
        low, high = a - d, b - c
    elif eqn.op is s.mul:
        ends = (a * c, a * d, b * c, b * d)
        low, high = min(ends), max(ends)
    elif a >= 0 and c == d and c > 0:
        low, high = (a // c, b // c) if eqn.op is s.quotient else (0, c - 1)
    else:
        return None
    return (low, high) if min(a, c, low) > -INT_MAX and max(b, d, high) < INT_MAX else None


# -- memory ----------------------------------------------------------------------------------------


def _loaded(k: State, eqn: Eqn) -> str:
    """An element that is read, behind a barrier if need be."""
    if eqn in k.instead:
        return k.instead[eqn]
    buffer, *indices = eqn.operands
    root = k.roots[buffer]
    if k.together and any(not root.is_apart(w) for w in k.written):
        barrier(k)
    return place(k, buffer, indices)


def _emit_store(k: State, eqn: Eqn) -> None:
    buffer, value, *indices = eqn.operands
    root = k.roots[buffer]
    to = k.instead.get(eqn) or place(k, buffer, indices)
    if "atomic" in eqn.attrs:
        text = take_in(k.unit, eqn.attrs["atomic"], buffer.dtype, to, k.text(value))
    else:
        text = f"{to} = {stripped(k.text(value))};"
    if not k.together or k.threads == 1:
        k.written.add(root)
        k.w.add(text)
        return
    if any(not root.is_apart(used) for used in (*k.read, *k.written)):
        barrier(k)
    k.written.add(root)
    k.read |= _reads_of(k, eqn.operands)
    k.w.add(f"if (threadIdx.x == 0) {text}")


def _emit_alloc(k: State, eqn: Eqn) -> None:
    """Memory of a thread's own, or of a block's."""
    buffer = eqn.result
    size = static_bytes(buffer.buffer_type)
    assert size is not None, "only static memory is a kernel's own"
    type, count = C_TYPES[buffer.dtype], max(size // buffer.dtype.itemsize, 1)
    name = k.w.fresh(buffer.name, "row")
    k.names[buffer] = name
    if not k.together:
        k.w.add(f"{type} {name}[{count}];")
    elif k.shared + size <= MOST_SHARED:
        k.shared += size
        k.w.add(f"__shared__ {type} {name}[{count}];")
    else:
        memory = k.w.fresh(name + "_of_blocks")
        k.scratch.append((memory, count * buffer.dtype.itemsize, buffer.dtype))
        k.w.add(f"{type}* const {name} = {memory} + (long long)blockIdx.x * {count};")


def _emit_view(k: State, eqn: Eqn) -> None:
    buffer, offset_ = eqn.operands[:2]
    base = k.names[buffer]
    if isinstance(offset_, Literal) and not offset_.item:
        k.names[eqn.result] = base
        return
    text = f"{base} + {k.number(offset_)}"
    k.names[eqn.result] = k.w.let("auto", text, eqn.result.name)


# -- control ---------------------------------------------------------------------------------------


def _c_type(type: Type) -> str:
    assert not isinstance(type, T.TapeType), "kernels have no tapes"
    return f"{C_TYPES[type.dtype]}{'*' if isinstance(type, BufferType) else ''}"


def _emit_for(k: State, eqn: Eqn) -> None:
    if k.together and k.threads > 1:
        levels, _ = perfect_nest(eqn)
        if len(levels) > 1 and shared_points(levels) >= FEWEST_SHARED_OUT:
            return _emit_shared_nest(k, levels)
        if is_shared_out(eqn):
            return _emit_shared_out(k, eqn)
        if is_chosen(eqn):
            return _emit_chosen(k, eqn)
        scan = find_scan(eqn)
        if scan is not None:
            return _emit_scan(k, eqn, scan)
    (body,) = eqn.regions
    if k.together:
        _settle(k, body)
    carries = _carries(k, eqn.operands[2:], body.params[1:])
    if _is_long(eqn):
        k.w.add("#pragma unroll 1")
    with k.w.block(_head(k, eqn, "", "")):
        _region(k, body, carries)
    k.names.update(zip(eqn.results, carries))


def _is_long(loop: Eqn) -> bool:
    """Whether the compiler would write out so much that registers did not suffice."""
    inner = list(loop.regions[0].walk())
    return trips(loop) is not None and (len(inner) > MOST_UNROLLED or any(e.regions for e in inner))


def _head(k: State, eqn: Eqn, first: str, step: str) -> str:
    """`for (...) {`, from `low + first` on in steps of `step`, or of 1."""
    index, (low, high) = eqn.regions[0].params[0], eqn.operands[:2]
    ends = k.range(low), k.range(high)
    small = all(r is not None and r[0] > -INT_MAX and r[1] < INT_MAX for r in ends)
    name = k.w.fresh(index.name, "i")
    k.names[index] = name
    if small and ends[0] and ends[1]:
        k.ranges[index] = (ends[0][0], max(ends[1][1] - 1, ends[0][0]))
    start = k.number(low)
    if first:
        start = first if start == "0" else f"{start} + {first}"
    type = "int" if small else "long long"
    advance = f"{name} += {step}" if step else f"++{name}"
    return f"for ({type} {name} = {start}; {name} < {k.number(high)}; {advance}) {{"


def _carries(k: State, initial: Sequence[Value], params: Sequence[Value]) -> list[str]:
    """Variables for what a loop carries."""
    names = [k.w.var(_c_type(v.type), k.text(v), p.name or v.name) for v, p in zip(initial, params)]
    k.names.update(zip(params, names))
    return names


def _region(k: State, body: Function, carries: Sequence[str]) -> None:
    """One round of a loop."""
    alone = body.results if len(body.results) == 1 else ()  # others are assigned all at once
    emit(k, body.eqns, alone)
    k.read |= _reads_of(k, body.results)
    assign(k.w, body, carries, [stripped(k.text(v)) for v in body.results])
    if k.together:
        _settle(k, body)


def _settle(k: State, *regions: Function) -> None:
    """A barrier where a region is entered or left that may touch what is pending."""
    if any(e.op in (S.LOAD, S.STORE) for region in regions for e in region.walk()):
        barrier(k)


def _emit_shared_nest(k: State, levels: Sequence[Eqn]) -> None:
    """A nest whose points the block's threads share."""
    stores, loads = _outer_roots(k, levels[0])
    if _touch(stores, k.written | k.read) or _touch(loads, k.written):
        barrier(k)
    count, at = shared_points(levels), k.w.fresh("n")
    head = f"for (int {at} = (int)threadIdx.x; {at} < {count}; {at} += (int)blockDim.x) {{"
    with k.w.block(head):
        k.together = False
        bind_levels(k, levels, at, [str(trips(level)) for level in levels], "int")
        emit(k, levels[-1].regions[0].eqns)
        k.together = True
    k.written |= stores
    k.read |= loads


def _outer_roots(k: State, eqn: Eqn) -> tuple[set[Root], set[Root]]:
    """The memory that a loop writes and reads, but for its own."""
    inside = Function("inside", (), (eqn,), (), "kernel")
    stores = {k.roots[e.operands[0]] for e in inside.walk() if e.op is S.STORE}
    loads = {k.roots[e.operands[0]] for e in inside.walk() if e.op is S.LOAD}
    own = {r for r in stores | loads if _is_inner(r, eqn)}
    return stores - own, loads - own


def _emit_shared_out(k: State, eqn: Eqn) -> None:
    """A loop whose iterations the block's threads share. Folds begin with what changes nothing in
    each thread; the first value is folded in at the end."""
    (body,) = eqn.regions
    stores, loads = _outer_roots(k, eqn)
    if _touch(stores, k.written | k.read) or _touch(loads, k.written):
        barrier(k)
    initial = eqn.operands[2:]
    names = eqn.attrs["combine"]
    starts = [neutral(k, name, v) for name, v in zip(names, initial)]
    carries = [
        k.w.var(_c_type(v.type), start, p.name or v.name)
        for v, start, p in zip(initial, starts, body.params[1:])
    ]
    k.names.update(zip(body.params[1:], carries))
    with k.w.block(_head(k, eqn, "(int)threadIdx.x", "(int)blockDim.x")):
        k.together = False
        _region(k, body, carries)
        k.together = True
    k.written |= stores
    k.read |= loads
    for name, v, result, carry in zip(names, initial, eqn.results, carries):
        total = f"{fold_of(k.unit, name, v.dtype)}({carry})"
        k.written.clear()  # there are barriers in it
        k.read.clear()
        if name not in IDEMPOTENT:
            total = row(k.unit, scalar_op(name), [v.dtype, v.dtype], [k.text(v), total])
        k.names[result] = k.w.let(C_TYPES[v.dtype], stripped(total), result.name)


def _emit_chosen(k: State, eqn: Eqn) -> None:
    """A loop in order of which each block has to run a few rounds: its threads look for these, then
    they are run one after the other."""
    (body,) = eqn.regions
    *first, branch = body.eqns
    rest = branch.regions[0].eqns
    _settle(k, body)
    size = k.threads * CHOSEN
    chosen = k.w.fresh("chosen")
    k.w.add(f"__shared__ int {chosen}[{size}];  // rounds of this block, in order")
    (low, high), stop = eqn.operands, k.number(eqn.operands[1])
    number = "int" if k.range(low) and k.range(high) else "long long"
    tile, found = k.w.fresh("tile"), k.w.fresh("found")
    head = f"for ({number} {tile} = {k.number(low)}; {tile} < {stop}; {tile} += {size}) {{"
    with k.w.block(head):
        begin = k.w.let(number, f"{tile} + (int)threadIdx.x * {CHOSEN}", "begin")
        end = f"{begin} + {CHOSEN} < {stop} ? {begin} + {CHOSEN} : {stop}"
        end = k.w.let(number, end, "end")
        k.w.add(f"int {found} = 0;")
        k.together = False
        mine = k.w.var("int", "0", "mine")
        at = _bind_index(k, eqn)
        loop = f"for ({number} {at} = {begin}; {at} < {end}; ++{at}) {{"
        with k.w.block(loop):
            emit(k, first)
            k.w.add(f"if ({stripped(k.text(branch.operands[0]))}) ++{mine};")
        function = scan_of(k.unit, Scan("add", s.add, low, ()), T.i32, "0")
        place = k.w.var("int", f"{function}({mine}, {found})", "place")
        with k.w.block(loop):
            emit(k, first)
            test = stripped(k.text(branch.operands[0]))
            k.w.add(f"if ({test}) {chosen}[{place}++] = (int)({at} - {tile});")
        k.w.add("__syncthreads();")
        m = k.w.fresh("m")
        shared = any(is_shared_out(e) for e in rest)
        start = "0" if shared else f"threadIdx.x ? {found} : 0"
        with k.w.block(f"for (int {m} = {start}; {m} < {found}; ++{m}) {{"):
            k.together = shared
            k.w.add(f"const {number} {at} = {tile} + {chosen}[{m}];")
            makers = [e for e in first if e.result is not branch.operands[0]]
            emit(k, (*makers, *rest))
            if shared:
                _settle(k, body)
        k.together = True
        k.w.add("__syncthreads();")
    k.written.clear()
    k.read.clear()


def _bind_index(k: State, eqn: Eqn) -> str:
    """A name for a loop's index, whose range is the loop's."""
    index, (low, high) = eqn.regions[0].params[0], eqn.operands[:2]
    ends = k.range(low), k.range(high)
    if ends[0] and ends[1]:
        k.ranges[index] = (ends[0][0], max(ends[1][1] - 1, ends[0][0]))
    k.names[index] = k.w.fresh(index.name, "i")
    return k.names[index]


def _emit_scan(k: State, eqn: Eqn, scan: Scan) -> None:
    """A running fold whose terms the block's threads share: in each round, every thread takes
    `SCANNED` neighbours, folds them, learns what the threads before it have folded, and goes over
    its own once more, now with the value so far."""
    (body,) = eqn.regions
    _settle(k, body)
    (low, high, initial), (_, total) = eqn.operands, body.params
    type, number = C_TYPES[initial.dtype], "int" if k.range(high) and k.range(low) else "long long"
    so_far = k.w.var(type, k.text(initial), f"{total.name or 'total'}_so_far")
    base = k.w.fresh("tile")
    step = k.threads * SCANNED
    stop = k.number(high)
    head = f"for ({number} {base} = {k.number(low)}; {base} < {stop}; {base} += {step}) {{"
    with k.w.block(head):
        begin = k.w.let(number, f"{base} + (int)threadIdx.x * {SCANNED}", "begin")
        end = k.w.let(number, f"{begin} + {SCANNED} < {stop} ? {begin} + {SCANNED} : {stop}", "end")
        k.together = False
        mine = k.w.var(type, neutral(k, scan.name, initial), "mine")
        at = _bind_index(k, eqn)
        loop = f"for ({number} {at} = {begin}; {at} < {end}; ++{at}) {{"
        with k.w.block(loop):
            emit(k, scan.first)
            taken = row(k.unit, scan.op, [initial.dtype] * 2, [mine, k.text(scan.term)])
            k.w.add(f"{mine} = {stripped(taken)};")
        function = scan_of(k.unit, scan, initial.dtype, neutral(k, scan.name, initial))
        k.names[total] = k.w.var(type, f"{function}({mine}, {so_far})", total.name or "total")
        with k.w.block(loop):
            emit(k, body.eqns)
            k.w.add(f"{k.names[total]} = {k.text(body.results[0])};")
        k.together = True
    k.names[eqn.results[0]] = so_far
    k.written.update(k.roots[e.operands[0]] for e in body.walk() if e.op is S.STORE)
    barrier(k)


def _is_inner(root: Root, eqn: Eqn) -> bool:
    return any(e.op is S.ALLOC and e.result is root.value for r in eqn.regions for e in r.walk())


def _touch(a: set[Root], b: set[Root]) -> bool:
    return any(not x.is_apart(y) for x in a for y in b)


def _emit_while(k: State, eqn: Eqn) -> None:
    cond, body = eqn.regions
    if k.together:
        _settle(k, cond, body)
    carries = _carries(k, eqn.operands, body.params)
    k.names.update(zip(cond.params, carries))
    with k.w.block("for (;;) {"):
        emit(k, cond.eqns)
        k.w.add(f"if (!{k.text(cond.results[0])}) break;")
        if k.together:
            _settle(k, cond, body)
        _region(k, body, carries)
    k.names.update(zip(eqn.results, carries))


def _emit_if(k: State, eqn: Eqn) -> None:
    then, orelse = eqn.regions
    if k.together:
        _settle(k, then, orelse)
    names = []
    for result in eqn.results:
        names.append(k.w.fresh(result.name))
        k.w.add(f"{_c_type(result.type)} {names[-1]};")
    condition = stripped(k.text(eqn.operands[0]))
    has_else = bool(orelse.eqns or orelse.results)
    with k.w.block(f"if ({condition}) {{", "} else {" if has_else else "}"):
        _arm(k, then, names)
    if has_else:
        with k.w.block("", "}"):
            _arm(k, orelse, names)
    k.names.update(zip(eqn.results, names))


def _arm(k: State, region: Function, names: Sequence[str]) -> None:
    emit(k, region.eqns, region.results)
    k.read |= _reads_of(k, region.results)
    for name, v in zip(names, region.results):
        k.w.add(f"{name} = {stripped(k.text(v))};")
    if k.together:
        _settle(k, region)


# -- errors ----------------------------------------------------------------------------------------


def _emit_raise(k: State, eqn: Eqn) -> None:
    """The number of the site and the values go to the status; the host raises."""
    dtypes = tuple(v.dtype for v in eqn.operands)
    k.unit.sites.append(ErrorSite(eqn.attrs["error"], eqn.attrs["message"], eqn.loc, dtypes))
    with k.w.block("if (threadIdx.x == 0) {"):
        for i, v in enumerate(eqn.operands):
            k.w.add(f"status[{i + 1}] = {_bits(k, v)};")
        k.w.add(f"*status = {len(k.unit.sites)};  // {eqn.attrs['error']}")
    k.w.add("return;")


def _bits(k: State, v: Value) -> str:
    if v.dtype is T.f64:
        return f"__double_as_longlong({k.text(v)})"
    if v.dtype is T.f32:
        return f"__float_as_int({k.text(v)})"
    return f"(long long){k.text(v)}"


_EMITTERS: dict[Op, Callable[[State, Eqn], None]] = {
    S.STORE: _emit_store,
    S.ALLOC: _emit_alloc,
    S.VIEW: _emit_view,
    S.FOR: _emit_for,
    S.WHILE: _emit_while,
    S.IF: _emit_if,
    S.RAISE: _emit_raise,
}
