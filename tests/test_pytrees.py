"""Containers taken apart and put together, alone and as arguments and results of jit."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jitnet
from jitnet import errors
from jitnet.frontend.pytree import flatten, flatten_like, leaf_paths, unflatten

Point = namedtuple("Point", ["x", "y"])


@dataclasses.dataclass(frozen=True)
class Layer:
    w: np.ndarray
    b: np.ndarray
    name: str = "dense"


@dataclasses.dataclass
class Checked:
    low: float
    high: float

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError("low > high")


class Box:
    def __init__(self, content, label):
        self.content = content
        self.label = label


jitnet.register_pytree_node(Box, lambda b: ((b.content,), b.label), lambda m, xs: Box(xs[0], m))

trees = st.recursive(
    st.integers() | st.none() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abc") | st.integers(0, 1) | st.booleans(), inner)
        | st.builds(Point, inner, inner)
        | st.builds(OrderedDict, st.dictionaries(st.sampled_from("xyz"), inner))
    ),
    max_leaves=12,
)


@given(trees)
def test_unflatten_inverts_flatten(tree):
    leaves, treedef = flatten(tree)
    assert unflatten(treedef, leaves) == tree
    assert type(unflatten(treedef, leaves)) is type(tree)
    assert len(leaves) == treedef.leaf_count == len(leaf_paths(treedef))
    assert flatten_like(treedef, tree, "tree") == leaves


@given(trees, trees)
def test_structures_are_equal_iff_the_trees_of_their_paths_are(a, b):
    (_, s), (_, t) = flatten(a), flatten(b)
    numbered_a = unflatten(s, range(s.leaf_count))
    numbered_b = unflatten(t, range(t.leaf_count))
    if s == t:
        assert hash(s) == hash(t)
        assert numbered_a == numbered_b


def test_keys_that_only_compare_equal_are_told_apart():
    assert flatten({1: 0})[1] != flatten({True: 0})[1]
    assert flatten({1: 0})[1] != flatten({1.0: 0})[1]


def test_the_order_of_a_dict_is_kept_and_counts():
    a, b = {"x": 1, "y": 2}, {"y": 2, "x": 1}
    assert flatten(a)[1] != flatten(b)[1]
    assert list(unflatten(flatten(b)[1], [5, 6])) == ["y", "x"]
    assert flatten_like(flatten(a)[1], b, "b") == [1, 2]


def test_flatten_like_names_the_place_that_differs():
    _, tree = flatten({"w": (1, 2)})
    with pytest.raises(errors.ArgumentError, match=r"tangent\.w .*list"):
        flatten_like(tree, {"w": [1, 2]}, "tangent")
    with pytest.raises(errors.ArgumentError, match=r"tangent\.w has \['0'\]"):
        flatten_like(tree, {"w": (1,)}, "tangent")
    with pytest.raises(errors.ArgumentError, match="'v'"):
        flatten_like(tree, {"v": (1, 2)}, "tangent")


def test_paths():
    tree = {"layers": [Layer(1, 2), Point(3, 4)], "n": None}
    expected = ["layers.0.w", "layers.0.b", "layers.0.name", "layers.1.x", "layers.1.y"]
    assert leaf_paths(flatten(tree)[1]) == expected


def test_post_init_does_not_run_on_tracers():
    f = jitnet.jit(lambda c: (c, c.low * 2))
    assert f(Checked(1.0, 2.0)) == (Checked(1.0, 2.0), 2.0)


def test_arguments_and_results_of_jit_keep_their_containers():
    @jitnet.jit
    def f(layer, point, box, pairs):
        scaled = {"w": layer.w * point.x, "b": None}
        return scaled, Point(layer.b + 1, point.y), Box([box.content * 2], box.label), pairs[::-1]

    layer = Layer(np.ones((2, 3)), np.arange(3.0))
    box = Box(np.arange(2), "blue")
    scaled, point, out, pairs = f(layer, Point(2.0, np.float32(3)), box, [(1, True), (2, False)])
    np.testing.assert_array_equal(scaled["w"], np.full((2, 3), 2.0))
    assert scaled["b"] is None
    assert list(scaled) == ["w", "b"]
    assert type(point) is Point
    np.testing.assert_array_equal(point.x, [1.0, 2.0, 3.0])
    assert type(point.y) is np.float32
    assert type(out) is Box
    assert out.label == "blue"
    np.testing.assert_array_equal(out.content[0], [0, 2])
    assert pairs == [(2, False), (1, True)]
    assert type(pairs[0][1]) is bool


def test_meta_of_a_registered_class_is_static():
    @jitnet.jit
    def f(box):
        return box.content + (1 if box.label == "one" else 2)

    assert f(Box(1.0, "one")) == 2.0
    assert f(Box(1.0, "two")) == 3.0
    assert f.cache_info().misses == 2


def test_registering_twice_is_refused():
    with pytest.raises(ValueError, match="already"):
        jitnet.register_pytree_node(Box, lambda b: ((), None), lambda m, xs: None)


def test_dict_order_gives_the_order_that_the_function_sees():
    f = jitnet.jit(lambda d: {k: v + 1 for k, v in d.items()})
    assert list(f({"a": 1.0, "b": 2.0})) == ["a", "b"]
    assert list(f({"b": 2.0, "a": 1.0})) == ["b", "a"]


def test_empty_containers():
    f = jitnet.jit(lambda a, b, c: (c, (), [], {}, a, b))
    assert f([], {}, 1.5) == (1.5, (), [], {}, [], {})


def test_containers_are_changed_for_the_caller():
    @jitnet.jit
    def f(params):
        params["w"] = params["w"] * 2
        return params

    params = {"w": np.ones(2)}
    for factor in (2.0, 4.0):
        assert f(params) is params
        np.testing.assert_array_equal(params["w"], [factor, factor])


def test_changing_a_container_is_refused_in_a_differentiated_function():
    def f(params):
        params["w"] = params["w"] * 2
        return params["w"].sum()

    params = {"w": np.ones(2)}
    with pytest.raises(errors.MutationError, match="container"):
        jitnet.grad(f)(params)
    np.testing.assert_array_equal(params["w"], [1.0, 1.0])
