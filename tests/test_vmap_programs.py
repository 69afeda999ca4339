"""vmap of whole programs of the corpus: three sets of arguments at once give what each gives.

Arrays, and floats, of equal shapes in all three are mapped; what else a program takes, sizes and
numbers of steps, is that of the first.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from programs import PROGRAMS, Program
from programs.comparing import compare

from jitnet import vmap
from jitnet.frontend.pytree import flatten, unflatten

LANES = 3
_NAMES = """
    heat_2d smooth_buffers heat_3d fdtd_2d jacobi_2d burgers exponential_average biquads
    symmetric_rank_update triangular_product covariance floyd_warshall edit_distance knapsack
    hmm_forward crc32 crc32_table adler32 fnv1a popcounts hamming_pairs primes_by_division
    greatest_divisors morton nbody lennard_jones fluid_density mandelbrot_points julia
    azimuthal_masks power_spectrum spmv sparse_gauss_seidel goertzel count_roots pi_vector
    pi_loop black_scholes asian_option bootstrap euler_decay van_der_pol pendulums newton_roots
    power_iteration max_pool perceptron depthwise gru scalar_kalman fitness search_tree
    mean_shift consensus_line pagerank_dense triangles rule_110 elementary tomography
    line_of_sight median_filter_stack erode horner clenshaw quantile_normalize kernel_density
    ground_state numerov
"""
NAMES = _NAMES.split()


def _is_mapped(lanes: tuple[Any, ...]) -> bool:
    arrays = all(isinstance(x, np.ndarray) and x.ndim for x in lanes)
    if arrays:
        return len({x.shape for x in lanes}) == 1
    return all(isinstance(x, (float, np.floating)) for x in lanes)


def _in_lanes(program: Program) -> tuple[Any, Any, list[Any]]:
    """Arguments of all lanes, the axes that are mapped, and the arguments of each lane."""
    drawn = [flatten(program.arguments("test", seed)) for seed in range(LANES)]
    tree = drawn[0][1]
    columns = list(zip(*(leaves for leaves, _ in drawn), strict=True))
    mapped = [_is_mapped(lanes) for lanes in columns]
    together = [np.stack(c) if m else c[0] for c, m in zip(columns, mapped)]
    rows = [[c[lane] if m else c[0] for c, m in zip(columns, mapped)] for lane in range(LANES)]
    axes = unflatten(tree, [0 if m else None for m in mapped])
    return unflatten(tree, together), axes, [unflatten(tree, row) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_lanes_are_what_each_gives(name: str) -> None:
    program = PROGRAMS[name]
    together, axes, rows = _in_lanes(program)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = [program.fn(*row) for row in rows]
        got = vmap(program.fn, in_axes=axes)(*together)
    tolerance = max(program.tolerance, 1e-11)
    results = [flatten(result)[0] for result in expected]
    for j, result in enumerate(flatten(got)[0]):
        compare(result, np.stack([row[j] for row in results]), tolerance)
    changed = [flatten(row)[0] for row in rows]  # by the program, in place
    for j, (argument, axis) in enumerate(zip(flatten(together)[0], _leaves(axes), strict=True)):
        if axis == 0:
            compare(argument, np.stack([row[j] for row in changed]), tolerance, "arguments")


def _leaves(axes: Any) -> list[Any]:
    """The axes of the leaves; None is one here, and no empty tree."""
    if isinstance(axes, (tuple, list)):
        return [axis for item in axes for axis in _leaves(item)]
    if isinstance(axes, dict):
        return [axis for item in axes.values() for axis in _leaves(item)]
    return [axes]


def test_a_fair_part_of_the_corpus_is_mapped() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 60
