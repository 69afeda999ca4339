"""What jitted functions change outside: attributes, closures' variables, globals, lists and dicts.
 Each runs under plain Python and jitted, on objects of its own; what it
returns, and what becomes of the objects, is compared, and compilations are counted."""

from __future__ import annotations

import copy
import dataclasses
import dis
import functools
import inspect
import types
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import pytest

import jitnet
from jitnet import errors, jit
from jitnet.frontend import bytecode

T = TypeVar("T")


def same(a, b, path="it", seen=()):
    """Whether two results are of the same classes, down to the bits of numbers."""
    if id(a) in seen:
        return
    seen = (*seen, id(a))
    assert type(a) is type(b), (path, type(a), type(b))
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), path
        np.testing.assert_array_equal(a, b, err_msg=path)
    elif isinstance(a, (list, tuple, deque)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{path}[{i}]", seen)
    elif isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            same(a[key], b[key], f"{path}[{key!r}]", seen)
    elif isinstance(a, np.generic) or a is None or type(a).__module__ == "builtins":
        assert a == b or (a != a and b != b), (path, a, b)
    else:
        names = [n for c in type(a).__mro__ for n in vars(c).get("__slots__", ())]
        own = {n: getattr(a, n) for n in names if hasattr(a, n)} | getattr(a, "__dict__", {})
        other = {n: getattr(b, n) for n in names if hasattr(b, n)} | getattr(b, "__dict__", {})
        same(own, other, path, seen)


def check_method(make, method, calls, compilations=1):
    """Call a method of an object as it is, and jitted, of another object."""
    plain, own = make(), make()
    function = method if callable(method) else getattr(type(plain), method)
    compiled = jit(function)
    for arguments in calls:
        expected = function(plain, *copy.deepcopy(arguments))
        same(compiled(own, *copy.deepcopy(arguments)), expected)
        same(own, plain)
    assert compiled.cache_info().misses == compilations
    return own


VECTORS = [(np.arange(3.0) + i,) for i in range(5)]


class Model:
    def __init__(self):
        self.w = np.zeros(3)
        self.steps = 0
        self.rate = 0.5
        self.history = []
        self.params = {"w": np.ones(3), "b": 0.5}

    def write(self, x):
        self.w -= 0.1 * x

    def replace(self, x):
        self.w = self.w - x
        return self.w

    def count(self, x):
        self.steps += 1
        return x * self.steps

    def decay(self, x):
        self.rate *= 0.5
        return x * self.rate

    def log(self, x):
        self.history.append(x.sum())

    def change_item(self, x):
        self.params["w"] = self.params["w"] + x
        self.params["b"] += 1

    def bump(self, by=1):
        self.steps += by

    def call_another(self, x):
        self.bump()
        self.bump(by=2)
        return self.count(x)

    def set_new(self, x):
        self.last = x.sum()
        self.name = "set"

    def all(self, x):
        self.write(x)
        self.replace(x)
        self.log(self.w)
        self.change_item(x)
        self.set_new(x)
        return self.call_another(x)


@pytest.mark.parametrize(
    "method",
    ["write", "replace", "count", "decay", "log", "change_item", "call_another", "set_new", "all"],
)
def test_methods(method):
    check_method(Model, method, VECTORS)


def test_a_method_that_is_jitted_in_its_class():
    class Counter:
        def __init__(self):
            self.count, self.w = 0, np.ones(2)

        @jit
        def step(self, x):
            self.count += 1
            return x * self.w * self.count

    one, other = Counter(), Counter()
    for i in range(3):
        np.testing.assert_array_equal(one.step(np.ones(2)), [i + 1.0] * 2)
    assert one.count == 3
    assert type(one.count) is int
    assert other.count == 0
    np.testing.assert_array_equal(other.step(np.ones(2)), [1.0, 1.0])
    assert (one.count, other.count) == (3, 1)
    assert Counter.step.cache_info().misses == 2  # one for each object


def test_a_bound_method_that_is_jitted():
    model, plain = Model(), Model()
    step = jit(model.all)
    for (x,) in VECTORS:
        same(step(x), plain.all(x))
        same(model, plain)
    assert step.cache_info().misses == 1


def test_an_object_that_is_read_from_outside():
    model, plain = Model(), Model()

    def use(model):
        def step(x):
            model.steps += 1
            model.w = model.w + x
            model.history.append(model.steps)
            return model.w * model.steps

        return step

    compiled, expected = jit(use(model)), use(plain)
    for (x,) in VECTORS:
        same(compiled(x), expected(x))
        same(model, plain)
    assert compiled.cache_info().misses == 1


def test_objects_are_changed_by_the_caller_in_between():
    model, plain = Model(), Model()
    step = jit(Model.all)
    for i, (x,) in enumerate(VECTORS):
        same(step(model, x), plain.all(x))
        for own in (model, plain):
            own.steps += 10
            own.w = np.full(3, float(i))
            own.history = [1.0] * i
            own.params["b"] = i * 0.5
        same(model, plain)
    assert step.cache_info().misses <= 2 + len(VECTORS)  # each list is another one


# -- identity --------------------------------------------------------------------------------------


def test_arrays_keep_their_identity():
    class Pair:
        def __init__(self):
            self.a, self.b = np.zeros(3), np.ones(3)

        def swap(self, x):
            self.a, self.b = self.b, self.a
            self.a += x
            return self.b

    pair = Pair()
    a, b = pair.a, pair.b
    step = jit(Pair.swap)
    assert step(pair, np.ones(3)) is a
    assert pair.a is b
    assert pair.b is a
    np.testing.assert_array_equal(b, [2.0, 2.0, 2.0])
    assert step(pair, np.ones(3)) is b
    assert pair.a is a
    assert pair.b is b
    assert step.cache_info().misses == 1


def test_a_new_array_is_one_object_each_time():
    model = Model()
    returned = jit(Model.replace)(model, np.ones(3))
    assert returned is model.w
    before = model.w
    assert jit(Model.write)(model, np.ones(3)) is None
    assert model.w is before
    np.testing.assert_array_equal(before, [-1.1, -1.1, -1.1])


def test_an_argument_that_is_kept():
    def keep(model, x):
        model.w = x
        model.w[0] = 7.0
        model.params["x"] = x[1:]

    model, x = Model(), np.zeros(3)
    compiled = jit(keep)
    compiled(model, x)
    assert model.w is x
    assert x[0] == 7.0
    assert model.params["x"].base is x
    compiled(model, x)  # which is an attribute now, too
    assert model.w is x


def test_an_attribute_that_is_an_argument_too():
    def step(model, x):
        model.w += 1.0
        return x * model.w

    model, plain = Model(), Model()
    compiled = jit(step)
    for _ in range(2):
        same(compiled(model, model.w), step(plain, plain.w))
        same(compiled(model, model.w[1:].repeat(3)[:3]), step(plain, plain.w[1:].repeat(3)[:3]))
    same(model, plain)


def test_two_attributes_that_are_one_array():
    class Two:
        def __init__(self):
            self.u = self.v = np.zeros(3)

        def step(self, x):
            self.u += x
            self.v = self.v * 2
            return self.u + self.v

    check_method(Two, Two.step, VECTORS, compilations=2)


def test_the_object_itself_is_returned():
    class Chain:
        def __init__(self):
            self.total = 0.0

        def add(self, x):
            self.total = self.total + x
            return self

    chain = Chain()
    add = jit(Chain.add)
    assert add(add(chain, 1.0), 2.5) is chain
    assert chain.total == 3.5
    assert type(chain.total) is float


def test_a_list_is_the_same_list():
    model = Model()
    history, params = model.history, model.params
    step = jit(Model.all)
    step(model, np.ones(3))
    step(model, np.ones(3))
    assert model.history is history
    assert len(history) == 2
    assert model.params is params


def test_objects_that_are_equal_are_told_apart():
    class Named:
        def __init__(self, name, w):
            self.name, self.w, self.used = name, w, 0

        def __eq__(self, other):
            return self.name == other.name

        def __hash__(self):
            return hash(self.name)

        def step(self, x):
            self.used += 1
            return x * self.w

    one, other = Named("n", np.ones(2)), Named("n", np.zeros(2))
    step = jit(Named.step)
    np.testing.assert_array_equal(step(one, np.ones(2)), [1.0, 1.0])
    np.testing.assert_array_equal(step(other, np.ones(2)), [0.0, 0.0])
    assert (one.used, other.used) == (1, 1)


# -- kinds of objects ------------------------------------------------------------------------------


class Slotted:
    __slots__ = ("count", "w")

    def __init__(self):
        self.count = 0
        self.w = np.zeros(3)

    def step(self, x):
        self.count += 1
        self.w = self.w + x * self.count
        return self.w


class SlottedMore(Slotted):
    __slots__ = ("late",)

    def step(self, x):
        self.late = x * 2
        return super().step(x) + self.late


@pytest.mark.parametrize(("cls", "compilations"), [(Slotted, 1), (SlottedMore, 2)])
def test_slots(cls, compilations):
    check_method(cls, "step", VECTORS, compilations)  # at first there is no `late`


def test_slots_are_guarded():
    thing = Slotted()
    compiled = jit(lambda x: x * thing.count + thing.w)
    np.testing.assert_array_equal(compiled(np.ones(3)), [0.0] * 3)
    thing.count = 2
    np.testing.assert_array_equal(compiled(np.ones(3)), [2.0] * 3)
    thing.w = np.ones(3)
    np.testing.assert_array_equal(compiled(np.ones(3)), [3.0] * 3)


class Particle:
    def __init__(self, i):
        self.x, self.v = np.zeros(2) + i, np.ones(2) * i
        self.hits = 0

    def move(self, dt):
        self.x = self.x + self.v * dt
        if self.x[0] > 3:
            self.v = -self.v
            self.hits += 1


class System:
    def __init__(self):
        self.particles = [Particle(i) for i in range(3)]
        self.by_name = {"first": self.particles[0]}
        self.time = 0.0

    def step(self, dt):
        for p in self.particles:
            p.move(dt)
        self.by_name["first"].hits += 10
        self.time += dt


def test_objects_in_objects():
    own = check_method(System, "step", [(0.5,)] * 6)
    assert own.by_name["first"] is own.particles[0]


@dataclass
class Settings:
    rate: float = 0.5
    used: int = 0
    log: list = field(default_factory=list)


class WithDataclass:
    def __init__(self):
        self.settings = Settings()

    def step(self, x):
        self.settings.used += 1
        self.settings.log.append(x.sum())
        return x * self.settings.rate


def test_a_dataclass_in_an_object():
    check_method(WithDataclass, "step", VECTORS)


class Node:
    def __init__(self):
        self.other = self
        self.n = 0

    def step(self, x):
        self.other.n += 1
        return x + self.other.other.n


def test_objects_that_form_a_cycle():
    check_method(Node, "step", VECTORS)


class WithProperty:
    def __init__(self):
        self._value = np.zeros(3)
        self.sets = 0

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, x):
        self._value = x
        self.sets += 1

    def step(self, x):
        self.value = self.value + x
        self.value *= 2


def test_properties():
    check_method(WithProperty, "step", VECTORS)


class Base:
    scale = 2
    count = 0

    def step(self, x):
        self.count += 1
        return x * self.scale


class Derived(Base):
    def step(self, x):
        self.scale = self.scale + 1
        return super().step(x) + self.count


def test_attributes_that_hide_those_of_the_class():
    check_method(Derived, "step", VECTORS, compilations=2)
    assert (Base.count, Derived.scale) == (0, 2)


# -- control flow ----------------------------------------------------------------------------------


class Flow:
    def __init__(self):
        self.best = np.inf
        self.where = np.zeros(3)
        self.evaluations = 0
        self.improved = []
        self.trace = []

    def under_conditions(self, x):
        value = (x**2).sum()
        if value < self.best:
            self.best = value
            self.where = x.copy()
            self.improved.append(value)
        return self.best

    def in_loops(self, x):
        for i in range(len(x)):
            self.evaluations += 1
            self.where[i] += x[i]
        k = 0
        while self.where[0] > 0.5 and k < 20:
            self.where = self.where * 0.5
            k += 1
        return k

    def appends_in_loops(self, x, n):
        for i in range(n):
            self.trace.append(x[0] * i)

    def returns_early(self, x):
        self.evaluations += 1
        if x[0] > 2:
            return x * 0
        self.evaluations += 10
        return x


@pytest.mark.parametrize("method", ["in_loops", "returns_early"])
def test_control_flow(method):
    check_method(Flow, method, VECTORS)


def test_a_list_that_is_appended_to_under_a_condition():
    check_method(
        Flow, "under_conditions", [(np.full(3, v),) for v in (3.0, 2.0, 5.0, 1.0)], compilations=2
    )


def test_a_list_that_is_appended_to_in_a_loop():
    check_method(Flow, "appends_in_loops", [(np.ones(3), n) for n in (0, 3, 50, 7)])


def test_a_list_that_is_appended_to_is_returned_as_itself():
    def note(model, x):
        model.history.append(float(x.sum()))
        return model.history, {"log": model.history, "x": x}

    model, noted = Model(), jit(note)
    for k in range(3):
        history, both = noted(model, np.ones(3))
        assert history is both["log"] is model.history
        assert history == [3.0] * (k + 1)


history = np.ones(3)  # as an attribute is called, which has nothing to do with it


def test_a_global_that_is_called_like_an_attribute_is_not_read():
    def note(model, x):
        model.history.append(x.sum())
        x += 1

    model, noted = Model(), jit(note)
    for k in range(3):
        noted(model, history)
        assert history.tolist() == [k + 2] * 3
    assert model.history == [3, 6, 9]
    assert noted.cache_info().misses == 1


@pytest.mark.parametrize("fn", [jit, inspect.getsource, np.median, Model.all, dataclasses.replace])
def test_names_of_variables_are_told_from_those_of_attributes(fn):
    def named(code):
        return {
            i.argval
            for i in dis.get_instructions(code)
            if i.opcode in dis.hasname and not i.opname.endswith(("_ATTR", "_METHOD"))
        }

    for code in bytecode.codes(inspect.unwrap(fn).__code__):
        assert set(bytecode.variables(code)) == named(code)


# -- variables -------------------------------------------------------------------------------------


def test_variables_of_a_function_around():
    def make(wrap):
        n, w, log = 0, np.ones(3), []

        @wrap
        def step(x):
            nonlocal n, w
            n += 1
            w = w * x
            log.append(n)
            return w * n

        return step, lambda: (n, w, log)

    (compiled, now), (plain, expected) = make(jit), make(lambda f: f)
    for (x,) in VECTORS:
        same(compiled(x), plain(x))
        same(now(), expected())
    assert compiled.cache_info().misses == 1


COUNT = 0
TOTAL = np.zeros(3)
LOG = []
TABLE = {"a": 1.0}


def change_globals(x):
    global COUNT, TOTAL, FRESH
    COUNT += 1
    TOTAL = TOTAL + x
    FRESH = x * 2
    LOG.append(COUNT)
    TABLE["a"] *= 2.0
    return x * COUNT


class CallsIt:
    def step(self, x):
        return change_globals(x) + len(LOG[:0])


@pytest.mark.parametrize("function", [change_globals, CallsIt().step])
def test_globals(function):
    start = {"COUNT": 0, "TOTAL": np.zeros(3), "LOG": [], "TABLE": {"a": 1.0}}

    def run(step):
        globals().update(copy.deepcopy(start))
        globals().pop("FRESH", None)
        outs = [step(x) for (x,) in VECTORS[:3]]
        return outs, copy.deepcopy([COUNT, TOTAL, FRESH, LOG, TABLE])

    expected = run(function)
    same(run(jit(function)), expected)


def test_globals_of_a_module():
    module = types.ModuleType("settings_of_test")
    module.__file__ = __file__
    module.count, module.w = 0, np.ones(3)

    @jit
    def step(x):
        module.count += 1
        module.w = module.w + x
        return module.w * module.count

    for i in range(3):
        np.testing.assert_array_equal(step(np.ones(3)), np.full(3, (i + 2.0) * (i + 1)))
    assert module.count == 3
    assert step.cache_info().misses == 1


def test_floats_and_arrays_that_are_replaced_outside_become_inputs():
    rate, w = 0.0, np.ones(3)
    step = jit(lambda x: x * rate + w)
    for i in range(6):
        rate, w = float(i), np.full(3, 1.0 + i)
        np.testing.assert_array_equal(step(np.ones(3)), np.full(3, 1.0 + 2 * i))
    assert step.cache_info().misses == 4  # after three values, as extents


def test_a_number_that_a_shape_needs():
    class Grows:
        def __init__(self):
            self.n = 2

        def step(self, x):
            self.n += 1
            return np.zeros(self.n) + x

    plain, own = Grows(), Grows()
    compiled = jit(Grows.step)
    for _ in range(8):
        same(compiled(own, 1.5), plain.step(1.5))
        same(own, plain)
    assert compiled.cache_info().misses <= 5  # then it is symbolic


# -- derivatives, and other ways to run ------------------------------------------------------------


class Fit:
    def __init__(self):
        self.w, self.losses, self.steps = np.array([1.0, -2.0]), [], 0

    def loss(self, w, x, y):
        return ((x @ w - y) ** 2).mean()

    def step(self, x, y):
        value, slope = jitnet.value_and_grad(self.loss)(self.w, x, y)
        self.w = self.w - 0.1 * slope
        self.losses.append(value)
        self.steps += 1


def test_training():
    fit, x, y = Fit(), np.eye(2), np.array([3.0, 4.0])
    step = jit(Fit.step)
    for _ in range(50):
        step(fit, x, y)
    assert step.cache_info().misses == 1
    assert fit.steps == len(fit.losses) == 50
    assert fit.losses == sorted(fit.losses, reverse=True)
    w = np.array([1.0, -2.0])
    for _ in range(50):
        w = w - 0.1 * (w - y)
    np.testing.assert_allclose(fit.w, w)


def test_verify_changes_objects_once():
    model, plain = Model(), Model()
    step = jit(Model.all, verify=True)
    for (x,) in VECTORS:
        same(step(model, x), plain.all(x))
        same(model, plain)


def test_explain_names_what_is_changed():
    text = jit(Model.count).explain(Model(), np.ones(3))
    assert "Model.steps" in text


# -- errors ----------------------------------------------------------------------------------------


class Fails:
    def __init__(self):
        self.n, self.log = 0, []

    def step(self, x, i):
        self.n += 1
        self.log.append(self.n)
        return x[i]

    def raises(self, x):
        self.n += 1
        if x[0] > 0:
            raise ValueError("positive")
        self.log.append(self.n)
        return x


def test_an_error_leaves_the_object_valid():
    thing, x = Fails(), np.arange(3.0)
    step = jit(Fails.step)
    assert step(thing, x, 1) == 1.0
    with pytest.raises(IndexError):
        step(thing, x, 3)
    assert type(thing.n) is int
    assert all(type(n) is int for n in thing.log)
    n = thing.n
    assert step(thing, x, 2) == 2.0
    assert thing.n == n + 1
    raises = jit(Fails.raises)
    with pytest.raises(ValueError, match="positive"):
        raises(thing, np.ones(3))
    assert type(thing.n) is int


def test_an_error_while_tracing_changes_nothing():
    thing = Fails()

    def step(thing, x):
        thing.n += 1
        thing.log.append(x)
        thing.w = x
        return np.linalg.svd(x)

    with pytest.raises(errors.UnsupportedFunctionError):
        jit(step)(thing, np.eye(2))
    assert vars(thing) == {"n": 0, "log": []}


class Counted:
    made = 0


class Checked:
    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)

    def __init__(self):
        self.n = 0


SEEN, QUEUE, CHECKED = set(), deque(), Checked()


def changes_a_class(x):
    Counted.made += 1
    return x


def changes_a_set(x):
    SEEN.add(3)
    return x


def changes_a_deque(x):
    QUEUE.append(x.sum())
    return x


def changes_an_object_with_setattr(x):
    CHECKED.n += 1
    return x


@pytest.mark.parametrize(
    "function",
    [changes_a_class, changes_a_set, changes_a_deque, changes_an_object_with_setattr],
)
def test_refused(function):
    with pytest.raises(errors.MutationError, match="JN006"):
        jit(function)(np.ones(2))
    assert Counted.made == 0
    assert not SEEN
    assert not QUEUE
    assert CHECKED.n == 0


def test_sets_that_are_read_are_guarded():
    known = {1, 2}
    compiled = jit(lambda x: x * (5 if 3 in known else 7))
    assert compiled(1.0) == 7.0
    known.add(3)
    assert compiled(1.0) == 5.0


def test_a_container_that_is_given_twice():
    def step(a, b):
        a["n"] = a["n"] + 1.0
        return b["n"]

    compiled = jit(step)
    one, other = {"n": 1.0}, {"n": 5.0}
    assert compiled(one, other) == 5.0
    with pytest.raises(errors.MutationError, match="twice"):
        compiled(one, one)
    assert one == {"n": 2.0}


def test_a_list_that_is_reached_by_two_ways():
    class Two:
        def __init__(self):
            self.log = []
            self.nested = {"log": self.log}

        def step(self, x):
            self.nested["n"] = x
            self.log.append(x)
            return self.nested["log"][-1]

    check_method(Two, "step", [(1.0,), (2.0,)], compilations=2)


def test_a_derived_function_may_not_change_objects():
    model = Model()

    def loss(w):
        model.steps += 1
        return (w**2).sum()

    with pytest.raises(errors.MutationError):
        jitnet.grad(loss)(np.ones(3))
    assert model.steps == 0


def test_lists_whose_content_is_asked_for():
    def step(model, x):
        model.history.append(x.sum())
        return model.history[-1] + len(model.history)

    check_method(Model, step, VECTORS[:3], compilations=3)  # its length is a part of the program


@pytest.mark.parametrize(
    "use", [len, sum, list, lambda h: h + [1.0], lambda h: h[0], lambda h: [x * 2 for x in h]]
)
def test_lists_that_are_read_in_other_ways(use):
    def step(model, x):
        model.history.append(x.sum())
        return use(model.history)

    check_method(Model, step, VECTORS[:2], compilations=2)


def test_appended_lists_of_lists():
    class Nested:
        def __init__(self):
            self.logs = {"a": [], "b": []}

        def step(self, x):
            self.logs["a"].append(x[0])
            self.logs["b"] += [x, x.sum()]

    check_method(Nested, "step", VECTORS)


class Weighted:
    def __init__(self):
        self.nodes = [Node(), Node()]
        self.weights = {node: 1.0 + i for i, node in enumerate(self.nodes)}
        self.seen = {self.nodes[0]}
        self.total = np.float64(0.0)

    def step(self, x):
        for node in self.nodes:
            if node in self.seen:
                self.total += self.weights[node] * x.sum()


def test_objects_that_are_keys():
    plain, own = Weighted(), Weighted()
    compiled = jit(Weighted.step)
    for (x,) in VECTORS:
        compiled(own, x)
        plain.step(x)
        assert own.total == plain.total
    assert compiled.cache_info().misses == 1


class Lazy:
    def __init__(self):
        self.w = np.arange(3.0)

    @functools.cached_property
    def norm(self):
        return np.sqrt((self.w**2).sum())

    def step(self, x):
        return x / self.norm


def test_cached_properties():
    check_method(Lazy, "step", VECTORS, compilations=2)


class Layer:
    def __init__(self):
        self.w, self.calls = np.ones((3, 3)), 0

    def __call__(self, x):
        self.calls += 1
        return (self.w @ x) * 0.25


class Network(Generic[T]):
    def __init__(self):
        self.layers = [Layer(), Layer()]
        self.out = None

    def step(self, x):
        for layer in self.layers:
            x = layer(x)
        self.out = x
        return x


def test_objects_that_are_called():
    check_method(Layer, Layer.__call__, VECTORS)
    check_method(Network, "step", VECTORS)


def test_objects_in_containers_of_the_arguments():
    def move(particles, by_name, dt):
        for p in particles:
            p.move(dt)
        by_name["a"].hits += 1

    plain, own = [Particle(1), Particle(2)], [Particle(1), Particle(2)]
    compiled = jit(move)
    for _ in range(4):
        compiled(own, {"a": own[0]}, 0.5)
        move(plain, {"a": plain[0]}, 0.5)
        same(own, plain)
    assert compiled.cache_info().misses == 1


def test_a_jitted_function_in_another_one():
    @jit
    def inner(model, x):
        model.steps += 1
        return x * model.steps

    def outer(model, x):
        return inner(model, x) + inner(model, x)

    check_method(Model, outer, VECTORS)


def test_attributes_that_are_deleted():
    def step(model, x):
        if hasattr(model, "extra"):
            del model.extra
        else:
            model.extra = x
        model.params.pop("b", None)

    check_method(Model, step, VECTORS, compilations=3)


class Plain:
    pass


def name_of_rest(m):
    return "ias"


ATTEMPTS = [
    lambda m, x: x * getattr(m, "bias", 3.0),
    lambda m, x: x * (2.0 if hasattr(m, "bias") else 3.0),
    lambda m, x: x * getattr(m, "b" + name_of_rest(m), 3.0),
    lambda m, x: x * sum(getattr(m, f"{name}s", 3.0) for name in ("bia", "w")),
    lambda m, x: x * sum(vars(m).values()),
]


def read_or_else(m, x):
    try:
        return x * m.bias
    except AttributeError:
        return x * 7


@pytest.mark.parametrize("read", [*ATTEMPTS, read_or_else])
@pytest.mark.parametrize("is_argument", [True, False])
def test_attributes_that_may_not_be_there(read, is_argument):
    model, x = Plain(), np.array([1.0, 2.0])
    compiled = jit(read) if is_argument else jit(lambda _, x: read(model, x))

    def check():
        given = model if is_argument else None
        for _ in range(2):
            np.testing.assert_array_equal(compiled(given, x), read(model, x))

    check()
    model.bias = 5.0
    check()
    model.bias = np.array([2.0, 4.0])
    check()
    model.ws = 1.0
    check()
    del model.bias
    check()
    Plain.bias = 11.0
    try:
        check()
    finally:
        del Plain.bias
    check()


def test_attributes_of_a_function_that_others_set():
    def scaled(x):
        return x * scaled.factor

    compiled = jit(scaled)
    for scaled.factor in (2.0, 3.0, np.array([1.0, 2.0])):
        np.testing.assert_array_equal(compiled(np.ones(2)), scaled(np.ones(2)))


def test_a_global_that_is_not_there_yet():
    def read(x):
        try:
            return x * appears_later
        except NameError:
            return x * 7

    def ask(x):
        return x * globals().get("appears_later", 7)

    compiled = [jit(read), jit(ask)]
    for function in compiled:
        np.testing.assert_array_equal(function(np.ones(2)), 7 * np.ones(2))
    try:
        for value in (2.0, 3.0):
            globals()["appears_later"] = value
            for function in compiled:
                np.testing.assert_array_equal(function(np.ones(2)), value * np.ones(2))
    finally:
        del globals()["appears_later"]


def test_attributes_of_a_function():
    def step(x):
        step.calls += 1
        return x * step.calls

    step.calls = 0
    compiled = jit(step)
    np.testing.assert_array_equal(compiled(np.ones(2)), [1.0, 1.0])
    np.testing.assert_array_equal(compiled(np.ones(2)), [2.0, 2.0])
    assert step.calls == 2
    assert compiled.cache_info().misses == 1


def test_namespaces():
    space = types.SimpleNamespace(n=0, w=np.ones(2))

    @jit
    def step(x):
        space.n += 1
        space.w = space.w * x
        return space.w * space.n

    for _ in range(3):
        step(np.full(2, 2.0))
    assert space.n == 3
    np.testing.assert_array_equal(space.w, [8.0, 8.0])


def twice_count():
    return COUNT * 2


class Often:
    """Its helpers are called often enough to be traced once for all calls."""

    def __init__(self):
        self.n, self.total, self.items, self.d = 0, 0.0, list(range(15)), {"a": 0.0}

    def value(self):
        return self.n * 2.0

    def item(self):
        return self.d["a"]

    def step(self, x):
        global COUNT
        for _ in self.items:
            self.n += 1
            COUNT += 1
            self.d["a"] = self.d["a"] + x
            self.total += self.value() * x + self.item() + twice_count()
        return self.total


def test_helpers_that_read_what_changes_between_their_calls():
    global COUNT
    plain, own, compiled = Often(), Often(), jit(Often.step)
    for start in (0, 5):
        COUNT = start
        expected, count = plain.step(2.0), COUNT
        COUNT = start
        same(compiled(own, 2.0), expected)
        same(own, plain)
        assert count == COUNT
    assert compiled.cache_info().misses == 1


# -- what a program could have read instead --------------------------------------------------------


class Linear:
    def slope(self):
        return 2.0


class Steep:
    def slope(self):
        return 5.0


LINE = Linear()
W1, W2 = 2.0, 3.0
MISSING_THERE = (AttributeError,)


def agrees_after(fn, change, *args):
    """Compare calls before and after what is outside has changed."""
    compiled, x = jitnet.jit(fn), np.ones(2)
    np.testing.assert_array_equal(compiled(x, *args), fn(x, *args))
    before = fn(x, *args)
    change()
    np.testing.assert_array_equal(compiled(x, *args), fn(x, *args))
    assert not np.array_equal(before, fn(x, *args))


def test_objects_that_become_of_another_class():
    def change():
        LINE.__class__ = Steep

    try:
        agrees_after(lambda x: x * LINE.slope(), change)
        with pytest.raises(errors.MutationError, match="__class__ of a Steep"):
            jitnet.jit(becomes_linear)(np.ones(2))
        assert type(LINE) is Steep
    finally:
        LINE.__class__ = Linear


def becomes_linear(x):
    LINE.__class__ = Linear
    return x


def test_attributes_that_are_missing_and_handled_without_a_name():
    model = types.SimpleNamespace(a=1.0)

    def bare(x):
        try:
            return x * model.b
        except:  # noqa: E722
            return x * model.a

    def by_a_tuple(x):
        try:
            return x * model.c
        except MISSING_THERE:
            return x * model.a

    agrees_after(bare, lambda: setattr(model, "b", 7.0))
    agrees_after(by_a_tuple, lambda: setattr(model, "c", 8.0))


def global_by_its_number(x, n):
    return x * globals()["W" + str(n)]


def global_by_text(x, n):
    return x * globals().get(f"W{n}", 1.0)


def globals_of_a_kind(x, n):
    total = 0.0
    for name, value in globals().items():
        if name.startswith("W") and len(name) < 3:
            total += value
    return x * total


@pytest.mark.parametrize("fn", [global_by_its_number, global_by_text, globals_of_a_kind])
def test_globals_by_names_that_are_computed(fn):
    def change():
        global W1
        W1 += 1.0

    agrees_after(fn, change, 1)


@pytest.mark.parametrize("fn", [global_by_text, globals_of_a_kind])
def test_globals_that_were_not_there(fn):
    def change():
        globals()["W3"] = 11.0

    try:
        agrees_after(fn, change, 3)
    finally:
        del globals()["W3"]


# -- containers made in front of a loop, and returned out of it ------------------------------------


@dataclass
class Steps:
    total: float
    steps: int = 0


def an_object_from_an_endless_loop(a, t):
    box = Steps(t)
    while True:
        if a[0] >= t:
            box.steps += 1
            return box
        a[0] += 1
        box.steps += 10


def an_object_among_others(a, t):
    box = Steps(t)
    while True:
        if a[0] >= t:
            box.steps += 1
            return 5.0, [box, a[0]]
        a[0] += 1


def a_list_from_an_endless_loop(a, t):
    seen = [0, t]
    while True:
        if a[0] >= t:
            seen[0] += 1
            return seen
        a[0] += 1


def a_dict_from_a_counted_loop(a, t):
    seen = {"steps": 0}
    for _ in range(9):
        seen["steps"] += 2
        if a[0] >= t:
            seen["steps"] += 1
            return seen
        a[0] += 1
    return {"steps": -1}


def an_object_by_another_name(a, t):
    box = Steps(t)
    for i in range(9):
        last = box
        last.steps += i
        a[0] += t
    last.total += 1.0
    return last.steps, last.total, box, last is box


RETURNED = [
    an_object_from_an_endless_loop,
    an_object_among_others,
    a_list_from_an_endless_loop,
    a_dict_from_a_counted_loop,
    an_object_by_another_name,
]


@pytest.mark.parametrize("fn", RETURNED)
@pytest.mark.parametrize("start", [-3.0, 1.0])
def test_what_a_loop_changed_is_returned_as_changed(fn, start):
    compiled = jit(fn)
    assert compiled(np.full(3, start), 0.5) == fn(np.full(3, start), 0.5)
