"""Functions in which every construct of Python's occurs, with the arguments to call them with.

The formatting is part of the samples: positions are compared too.
"""

# ruff: noqa
# fmt: off
from __future__ import annotations

import contextlib
import functools

SAMPLES = []


def on(*calls):
    """Sample a function with each of these tuples of arguments."""

    def add(fn):
        SAMPLES.append((fn, calls))
        return fn

    return add


class Log(list):
    """A list that notes the order in which things happen."""

    def say(self, x, value=None):
        self.append(x)
        return x if value is None else value


class Noisy:
    """A container that notes how it is used."""

    def __init__(self, log, name):
        self.log, self.name = log, name

    def __getitem__(self, key):
        self.log.append(("get", self.name, key))
        return 10

    def __setitem__(self, key, value):
        self.log.append(("set", self.name, key, value))

    def __delitem__(self, key):
        self.log.append(("del", self.name, key))


# Conditions


@on((1,), (0,), (-1,))
def if_elif_else(x):
    if x > 0:
        y = "positive"
    elif x < 0:
        y = "negative"
    else:
        y = "zero"
    return y


@on((1,), (0,), (-1,))
def early_returns(x):
    """With a docstring."""
    if x > 0:
        return "positive"
    y = 1
    if x < 0:
        y += 1
        return y
    return ("zero", y)


@on((1,), (0,))
def falls_off(x):
    if x:
        return 1


@on((1,), (0,))
def bare_return(x):
    log = []
    if x:
        log.append(1)
        return
    log.append(2)


@on((True,), (False,))
def unbound_on_one_path(c):
    if c:
        y = 1
    return y


@on((True,), (False,))
def read_before_bound(c):
    if c:
        return y
    y = 1
    return y


@on((1, 2), (2, 1), (0, 0))
def expressions(a, b):
    log, n2 = Log(), 2
    r = [
        a if log.say(a) else b,
        log.say(a) and log.say(b) and "both",
        log.say(a) or log.say(b) or "none",
        not a,
        not (a and b),
        log.say(a) < log.say(b) < log.say(3),
        a < b,
        log.say(0) <= log.say(a) != log.say(b) == n2 is not None,
        1 < a in [b, 2] not in [[3]],
        log.say(a) in log.say([b]) and a not in [b],
        (a if b else (b if a else "neither")),
    ]
    return r, log


@on((0,), (1,), (5,))
def walrus(n):
    if (half := n // 2) > 1:
        big = half
    else:
        big = None
    total = (k := n + 1) and k + 1
    other = n and (late := n * 2)
    either = (m := 3) if n else (m := 4)
    chain = 0 < (z := n) < 3
    return half, big, total, other, either, m, chain, z, [last := i for i in range(3)], last


@on((0,), (2,))
def walrus_on_one_path(n):
    n and (late := n * 2)
    return late


@on((3,), (0,))
def walrus_in_while(n):
    seen = []
    while (n := n - 1) > 0:
        if (square := n * n) > 100:
            break
        seen.append(square)
    return n, seen


# Loops


@on(([],), ([1, 2],), ([1, -1, 5],), ([1, 100, 5],), ([7, 1],))
def loop_jumps(xs):
    total = 0
    for x in xs:
        if x < 0:
            continue
        if x > 50:
            break
        total += x
        if total == 7:
            return "seven"
        log = total
    else:
        total += 1000
    return total


@on((0,), (3,), (10,), (4,))
def while_jumps(n):
    i = found = 0
    while i < n:
        i += 1
        if i == 2:
            continue
        if i == 6:
            break
        if n == 4 and i == 3:
            return "out"
        found = i
    else:
        return ("else", i, found)
    return i, found


@on((2, 3), (5, 5), (0, 1), (9, 9))
def nested_loops(n, m):
    log = []
    for i in range(n):
        for j in range(m):
            if j == i:
                continue
            if i == 3 and j == 4:
                break
            if i == 7:
                return log, "deep"
            k = 0
            while True:
                k += 1
                if k > j:
                    break
                if k * i == 35:
                    return log, i, j, k
            else:
                log.append("never")
            log.append((i, j, k))
        else:
            if i == 2:
                continue
            log.append(i)
            if i == 4:
                break
    else:
        return log, "finished"
    return log, i, j


@on((0,), (1,), (2,), (3,))
def jumps_in_else(n):
    for i in range(3):
        for j in range(i):
            if j == n:
                break
        else:
            if n == 2:
                break
            if n == 3:
                return "returned", i, j if i else None
            continue
        return i, j
    return "end", i


@on((3,), (0,))
def loop_variable_lives_on(n):
    for i in range(n):
        pass
    return i


@on(([(1, (2, 3)), (4, (5, 6))],), ([],), ([(1, 2)],), ([(1,)],))
def unpacking_target(pairs):
    out = []
    for a, (b, *c) in pairs:
        out.append((a, b, c))
    return out


@on((), ())
def subscript_target():
    a, b = [0, 0, 0], {}
    for a[1], b["k"] in [(1, 2), (3, 4)]:
        a[0] += a[1]
    for a[2] in range(5):
        pass
    return a, b


@on((1,), (5,))
def changes_what_it_loops_over(n):
    xs = list(range(n))
    for x in xs:
        if len(xs) < 10:
            xs.append(x)
    return xs


@on((4,),)
def late_binding(n):
    fs = []
    for i in range(n):
        fs.append(lambda: i)
    return [f() for f in fs], [g() for g in [lambda: j for j in range(n)]]


# Assignments


@on(())
def order_of_assignment():
    log = Log()
    x, y = Noisy(log, "x"), Noisy(log, "y")
    x[log.say(1)] = log.say(2)
    x[log.say(3)] = y[log.say(4)] = log.say(5)
    x[log.say(6)], y[log.say(7)] = log.say((8, 9))
    x[log.say(10)] += log.say(11)
    x[log.say(12), log.say(13) : log.say(14), ::2] -= y[log.say(15)]
    (a, (x[log.say(16)], *y[log.say(17)]), b) = log.say((18, (19, 20, 21), 22))
    x[1]: log.say("never") = log.say(23)
    [x[0]] = [log.say(24)]
    *c, x[0], d = log.say((1, 2, 3, 4))
    x[0], *e = log.say((1, 2, 3, 4))
    del x[log.say(25)], y[log.say(26) :]
    x[...] = x[:] = x[()] = x[None, 1:] = 27
    return log, a, b, c, d, e


@on(())
def targets_see_each_other():
    a = [0, 1, 2, 3]
    i, a[i] = 2, "two"
    a[i], i = "again", 0
    i, j = a[i], i = 5, 6
    a[0], a[1] = a[1], a[0]
    return a, i, j


@on(([1, 2, 3],), ([],))
def values_from_rebinding(xs):
    v = "old"

    def rebind():
        nonlocal v
        v = "new"
        return 0

    xs[rebind()] = v
    return xs, v


@on((3,))
def augmented(n):
    class C:
        pass

    c = C()
    c.x = [1, 2]
    c.y = n
    c.y *= 2
    c.x[0] += c.y
    c.x[1] <<= 2
    m = {"a": [1, 2, 3]}
    m["a"][1] **= 3
    m["a"] += [n]
    n //= 2
    n @= M() if n == 1 else 3
    return c.x, c.y, m, n


class M:
    def __rmatmul__(self, other):
        return ("matmul", other)


@on((True,), (False,))
def annotated(c):
    x: int = 1
    y: str
    if c:
        z: list[int] = [x]
        w: int
        z[0]: int = 2
        return z
    x: float = 2.0
    return x, y


@on((True,), (False,))
def deleted(c):
    x = y = 1
    if c:
        del x
    try:
        return x, y
    except NameError:
        return "unbound", y


@on((2,))
def stars(n):
    a, *b = range(n + 2)
    *c, d = b
    e = [*b, *c, n]
    m = {(1, 2): 3, n: 4}
    m[*b[:0], n] = m[n]
    f = (*e, d, m[*(1, 2)], m)
    g = {**{"x": 1}, "y": 2}

    def h(*args, k=1, **kwargs):
        return args, k, kwargs

    return a, b, c, d, e, f, h(*e, *f, k=3, **g), h(n, *b, y=2, **{"z": 3})


# Scopes

COUNT = 0


@on((1,), (2,))
def global_variable(n):
    global COUNT
    COUNT = 0
    if n == 1:
        COUNT += 5
    for _ in range(n):
        COUNT += 1
        if COUNT > 5:
            global MADE
            MADE = COUNT
            return COUNT, MADE
    return COUNT


@on((0,), (3,))
def closures(n):
    count = 0

    def up(by=n * 2):
        nonlocal count
        if by > 2:
            count += by
        else:
            count -= 1
        return count

    def recursive(k):
        if k <= 0:
            return 0
        return k + recursive(k - 1)

    if n:
        def chosen(x):
            return x + count
    else:
        def chosen(x):
            return -x

    return up(), up(1), count, recursive(n), chosen(10), chosen.__qualname__, chosen.__name__


@on((0,), (1,), (4,))
def imports_and_classes(n):
    if n:
        import math
        import os.path as path
        from operator import add, mul as times

        class Local:
            size = n * 2

            def get(self, *, plus=1):
                if self.size > 4:
                    return self.size + plus
                return add(self.size, times(n, plus))

        base = math.floor(2.5), path.basename("a/b")
    return Local().get(), Local.__qualname__, Local.get.__qualname__, base


def _twice(f):
    @functools.wraps(f)
    def wrapped(*args):
        return f(*args) * 2

    return wrapped


@on((1,), (-1,))
def decorated_inside(x):
    @_twice
    @_twice
    def f(y):
        return y + 1 if y > 0 else y - 1

    return f(x)


@on((1,), (1, 2), (1, 2, 3, 4))
def many_parameters(a, b=5, /, c=(), *args, d=4, **kwargs):
    if a == b:
        d = 3
    return a, b, c, args, d, kwargs


@on((5,), (0,))
def recursion(n):
    return 1 if n <= 0 else n * recursion(n - 1)


@on((3,))
def lambdas(n):
    f = lambda x, y=n: x if x > y else y; g = lambda *a, k=lambda: 1: (k(), a)
    if n:
        h = lambda: (n, f(1))
    return f(1), f(10), g(1, 2), h(), (lambda: (yield_ := 3))(), (lambda z: z and n)(2)


@on((0,), (2,))
def names_as_constants(n):
    def f(f):
        if f:
            class f: name = "f"
            return "f", f.name, f.__qualname__
        return {"f": "names_as_constants.<locals>.f", "f.<locals>.f": f}

    return f(n), f.__qualname__


@on((3,), (1,))
def deletes_in_loops(n):
    for i in range(n):
        j = i
        if j:
            del i
        if j == 2:
            del j
    return i, j


@on((0,), (2,))
def defaults(n, f=lambda x: x if x else 1, *, g=[i if i else 9 for i in range(2)]):
    def inner(a=n if n else 5, *, b=[n][0], c=(k := n and 4)):
        return a, b, c

    return f(n), g, inner(), k


def _bound(name, *calls):
    """Sample a function made by another one, with what it closes over."""

    def add(make):
        on(*calls)(make()[name])
        return make

    return add


@_bound("reads", (0,), (1,))
@_bound("writes", (0,), (1,))
@_bound("is_itself", (0,), (2,))
@_bound("of_class", ())
def makes_closures():
    total = [5]
    count = 0

    def reads(x):
        return total[x] if x < 1 else count

    def writes(x):
        nonlocal count
        if x:
            count = x + 1
            return total, count
        for count in range(3):
            pass
        return count

    def is_itself(x):
        return x if not x else is_itself(x - 1)

    class Named:
        __private = 3

        def of_class(self=None):
            __total = total if Named else ()
            return Named.__private, __class__ is Named, [__total[0] for _ in range(2) if __total]

    return {**locals(), "of_class": Named.of_class}


# Comprehensions


@on(([1, 2, 3],), ([],), ([0, 1],))
def comprehensions(xs):
    pairs = list(zip(xs, xs[::-1]))
    return (
        [x * 2 for x in xs],
        [a + b for a, b in pairs],
        [a + sum(b) for a, *b in pairs],
        [x for x in xs if x],
        [x for x in xs if x if x > 1],
        [(x, y) for x in xs for y in range(x) if y != 1],
        {x: [y for y in range(x)] for x in xs},
        {x % 2 for x in xs},
        sum(x * y for x, y in pairs),
        list(x for x in xs),
        max((x for x in xs if x < 3), default=None),
        [x if x else "zero" for x in xs],
        [sum(i * j for j in range(i)) for i in xs],
        any(x > 2 for x in xs),
        all(x > 0 and x < 5 for x in xs),
        [x[0] for x in [[1], [2]]],
        [f"{x:>{len(xs)}}" for x in xs],
    )


@on(([1, 2],), ([(1, 2, 3)],), ([(1, 2), 3],))
def unpacking_in_comprehension(xs):
    return [a for a, b in xs]


@on(([1, 0],))
def error_in_comprehension(xs):
    return [
        1 / x
        for x in xs
    ]


@on((3,))
def lazy_generator(n):
    log = Log()
    g = (log.say(i) for i in range(n))
    log.say("made")
    return next(g), list(g), log


@on((3,))
def generators_that_outlive(n):
    return [list(g) for g in [(i + j for j in range(2)) for i in range(n)]]


@on(([[1, 2], [3]],))
def shadowed(rows):
    x = "outer"
    made = [[x for x in row] for row in rows]
    return made, x


# with, try, match, assert, raise


@contextlib.contextmanager
def noting(log, name, swallow=False):
    log.append(("enter", name))
    try:
        yield name
    except ValueError:
        log.append(("error", name))
        if not swallow:
            raise
    finally:
        log.append(("exit", name))


@on((0,), (1,), (2,), (3,))
def with_blocks(n):
    log = []
    with noting(log, "a") as a, noting(log, "b") as (b):
        log.append((a, b))
        if n == 1:
            return log
        x = n
    for i in range(3):
        with noting(log, i):
            if n == 2 and i == 1:
                break
            if i == 0:
                continue
            if n == 3:
                return log, "three"
        log.append("after")
    else:
        log.append("else")
    with noting(log, "swallows", swallow=True):
        if n == 2:
            raise ValueError
        log.append("whole")
        return log, x
    return log, "swallowed"


@on((0,), (1,), (2,), (3,), (4,), (5,))
def try_blocks(n):
    log = []
    try:
        log.append("try")
        if n == 1:
            return log
        if n == 2:
            raise ValueError("two")
        if n == 3:
            {}["missing"]
    except ValueError as error:
        log.append(str(error))
        if n == 2:
            return log, "handled"
    except (KeyError, IndexError):
        log.append("key")
    else:
        log.append("else")
        if n == 4:
            return log, "else"
    finally:
        log.append("finally")
    return log, "end"


@on((0,), (1,), (2,))
def try_without_jumps(n):
    try:
        x = 1 / n
    except ZeroDivisionError as e:
        x = str(e)
    else:
        if n > 1:
            x += 1
    finally:
        y = x
    return x, y


@on((0,), (1,), (2,), (3,), (6,))
def try_in_loops(n):
    log = []
    for i in range(5):
        try:
            if i == n:
                continue
            if i == n + 2:
                break
            if i == n - 3:
                raise ValueError(i)
        except ValueError as e:
            log.append(e.args)
            continue
        finally:
            log.append(("finally", i))
        log.append(i)
    else:
        log.append("else")
    return log


@on((0,), (1,), (2,), (3,))
def jumps_in_finally(n):
    log = []
    while True:
        for i in range(3):
            try:
                log.append(i)
                1 / (i - 1)
                if n == 3:
                    break
            finally:
                log.append("finally")
                if n == 0:
                    return log
                if n == 1:
                    continue
                if n == 2:
                    break
        log.append("again")
        if len(log) > 12:
            return log


@on((0,), (1,), (2,))
def reraised(n):
    try:
        try:
            return [1, 2][n + 1]
        except IndexError as error:
            if n == 1:
                raise
            raise ValueError("worse") from error
    except ValueError as error:
        return repr(error.__cause__)


@on((0,), (1,))
def unbound_after_handler(n):
    try:
        1 / n
    except ZeroDivisionError as e:
        pass
    return e


@on((0,), (1,), (2,))
def groups(n):
    out = []
    try:
        if n == 1:
            raise ExceptionGroup("g", [ValueError(1), KeyError(2)])
        if n == 2:
            return "early"
    except* ValueError as e:
        out.append(len(e.exceptions))
    except* KeyError:
        out.append("key")
    return out


@on((0,), (1,), ([1, 2],), ([1, 2, 3],), ({"a": 1, "b": 2},), (M(),), ("s",), (-1,))
def matching(x):
    for _ in range(2):
        match x:
            case 0:
                return "zero"
            case int(n) if n > 0:
                y = n
            case [a, b]:
                y = a + b
            case [a, *rest]:
                break
            case {"a": k, **more}:
                return k, more
            case M():
                y = 5
                continue
            case str() as s:
                y = s
            case _:
                y = None
    else:
        return "else", y
    return a, rest


@on((0,), (1,), ("a",))
def matching_without_jumps(x):
    match x, 1:
        case 0, one:
            y = one
        case (1 | 2) as n, _:
            y = n
        case _:
            y = x
    return y


@on((1,), (0,), (-1,))
def assertions(x):
    assert x >= 0
    assert x, f"{x} is zero"
    assert (
        x
    ), "unreached"
    return x


@on((1,), (0,))
def raises(x):
    if not x:
        raise TypeError("no x")
    raise KeyError


# Classes


class Base:
    def value(self):
        return 1

    @classmethod
    def kind(cls):
        return cls.__name__


class Derived(Base):
    __hidden = 5
    scale = 2

    def __init__(self, n):
        self.__n = n

    def value(self):
        if self.__n:
            return super().value() + self.__n * self.__hidden
        __local = 0
        for __item in range(3):
            __local += __item
        return __local, __class__.__name__

    def nested(self):
        def inner(other):
            return super().value() + other.__n if other else __class__

        return [inner(self) for _ in range(2)]

    @classmethod
    def kind(cls):
        if cls.scale:
            return "derived " + super().kind()
        return None

    def __private(self, x):
        return x and self.__n

    @staticmethod
    def plain(x):
        return -x if x else x

    property_ = property(lambda self: self.__n if self.__n else "none")

    class Inner:
        __secret = 3

        def get(self):
            if self.__secret:
                return self.__secret, __class__.__qualname__


for _sample, _calls in (
    (Derived.value, ((Derived(0),), (Derived(3),))),
    (Derived.nested, ((Derived(0),), (Derived(3),))),
    (Derived.__dict__["kind"].__func__, ((Derived,), (Base,))),
    (Derived._Derived__private, ((Derived(2), 1), (Derived(2), 0))),
    (Derived.plain, ((1,), (0,))),
    (Derived.property_.fget, ((Derived(0),), (Derived(3),))),
    (Derived.Inner.get, ((Derived.Inner(),),)),
):
    on(*_calls)(_sample)


@on((0,), (2,))
def class_in_a_function(n):
    class Inside(Base):
        if n:
            extra = [i for i in range(n)]

        def value(self):
            if n > 1:
                return super().value() + n
            return n

        class Deeper:
            __x = 4

            def get(self):
                return self.__x if n else None

    return Inside().value(), Inside.Deeper().get(), Inside.Deeper.get.__qualname__


# Generators


@on((0,), (3,), (6,))
def uses_generators(n):
    def squares(n):
        for i in range(n):
            if i == 4:
                return "ended"
            if i % 2:
                total = 0
                for k in range(i):
                    if k == 2:
                        break
                    total += k
                yield total
                continue
            got = yield i * i if i else "zero"
            try:
                if got:
                    yield got
            finally:
                yield "finally"
        else:
            yield "else"
        while n:
            n -= 1
            if n == 1:
                break
            yield from [n and (yield n)]

    def delegating(n):
        result = yield from squares(n)
        yield result

    return list(delegating(n))


@on((0,), (3,))
def generator_itself(n):
    if n:
        x = 3
    else:
        x = [k * 2 for k in range(3)]
    yield x
    for i in range(n):
        with contextlib.suppress(ValueError):
            yield (i, x) if i else i
            if i == 1:
                return
    match n:
        case 0:
            yield "zero"


@on((0,), (3,))
def coroutines(n):
    async def answer(x):
        if x > 1:
            return x
        return -x

    async def run():
        found = []
        for i in range(n):
            found.append(await answer(i))
            if i == 2:
                break
        async for y in items():
            found.append(y)
        else:
            found.append("else")
        found.append([z async for z in items() if await answer(z)])
        found.append([await answer(z) for z in range(2)])
        async with Resource() as r:
            if n:
                return found, r
        return found

    async def items():
        for i in range(n):
            yield i

    class Resource:
        async def __aenter__(self):
            return "resource"

        async def __aexit__(self, *args):
            return None

    try:
        run().send(None)
    except StopIteration as stop:
        return stop.value


# Errors and their positions


def _fails(x):
    if x:
        raise RuntimeError(
            "failed",
            x,
        )
    return x


@on((0,), (1,), (2,), (3,), (4,), (5,), (6,), (7,), (8,), (9,), (10,), (11,))
def errors_everywhere(n):
    a = [0, 1]
    if n == 1:
        a[
            n + 5
        ]
    for i in range(3):
        while n == 2:
            _fails(
                n,
            )
        if n == 3 and i == 2:
            x = (a
                 .copy()
                 .index(77))
        x = 1 if n != 4 else 1 / 0
    try:
        if n == 5:
            a["x"] += 1
    finally:
        y = 3
    if n == 6:
        a[7] = 1
    if n == 7:
        return sum(
            1 / k
            for k in a
        )
    with contextlib.nullcontext():
        if n == 8: return _fails(_fails(n))
    def inner(k):
        return a[k] if k else (
            k < 1
            and _fails(8)
        )
    if n == 9:
        inner(inner(0))
    if n == 10:
        for p, q in a: pass
    x = (n == 11 and 1 / 0, 0 < n < [1]) if n == 11 else 0
    return f"{x!r:>5} {a[0] if n else _fails(n)}"


@on((0,), (1,), (None,))
def errors_of_headers(n):
    if n is None:
        while n < 3:
            pass
    for i in range(3) if n else n:
        pass


@on((1,), (0,))
def one_liners(n):
    if n: return 1
    else: y = 2
    while True: break
    for i in range(3): y += i; continue
    return y
