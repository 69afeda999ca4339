"""A corpus of whole NumPy programs, one module for each theme, written as scientists write them.

    from programs import PROGRAMS
    program = PROGRAMS["cholesky"]
    program.fn(*program.arguments("test"))

Nothing in them is bent to a compiler: they are plain NumPy, and NumPy is what they are compared
with. `tests/test_program_corpus.py` runs each under `jitnet.jit`; `benchmarks/programs.py` times
them.
"""

from __future__ import annotations

from . import (
    automata,
    binning,
    choices,
    clustering,
    dynamic_programming,
    factorisations,
    fractals,
    graphs,
    images,
    integers,
    layers,
    montecarlo,
    objects,
    ode,
    particles,
    polynomials,
    quantum,
    queues,
    rays,
    recurrent,
    solvers,
    sparse,
    stacks,
    statistics,
    stencils,
    sweeps,
    transforms,
    trees,
)
from .program import Program

THEMES = (
    stencils,
    sweeps,
    factorisations,
    dynamic_programming,
    integers,
    particles,
    fractals,
    binning,
    sparse,
    transforms,
    montecarlo,
    ode,
    solvers,
    layers,
    recurrent,
    trees,
    choices,
    clustering,
    graphs,
    automata,
    rays,
    images,
    polynomials,
    statistics,
    quantum,
    stacks,
    queues,
    objects,
)

PROGRAMS: dict[str, Program] = {
    program.name: program for theme in THEMES for program in theme.PROGRAMS
}

__all__ = ["PROGRAMS", "THEMES", "Program"]
