"""What is cheap goes in front of the nests that stand before it, so that these are neighbours.

    for 0, 100352 { ... }                 %t = pow 0.9, %n
    %t = pow 0.9, %n                      if %bad { raise ... }
    if %bad { raise ... }          ->     for 0, 100352 { ... }
    for 0, 100352 { ... %t ... }          for 0, 100352 { ... %t ... }

Scalars move, reads of memory that the nests do not write, views, and checks: where one fails, what
the nests have written is of no account. Errors keep their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from jitnet.codegen.cuda.marks import UNORDERED
from jitnet.codegen.cuda.memory import Places, walk
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.touch import Touched, clash, touched
from jitnet.ir import Eqn, Function
from jitnet.kernel import statements as S


def ordered(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with nests next to each other, at the top and in the regions of what the
    host carries out."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        run = _Run([], [], [], Touched())
        for eqn in f.eqns:
            if eqn.regions and drives(eqn):
                eqn = replace(eqn, regions=tuple(map(region, eqn.regions)))
            is_nest = _is_nest(eqn) and not drives(eqn)
            if not (is_nest or _is_cheap(eqn) or eqn.op is S.ALLOC):
                eqns += [*run.front, *run.rest, eqn]
                run = _Run([], [], [], Touched())
            elif not (run.rest or is_nest):
                eqns.append(eqn)
            else:
                run.add(eqn, touched((eqn,), places), _is_cheap(eqn))
        return replace(f, eqns=(*eqns, *run.front, *run.rest), _hash=[])

    return region(f)


@dataclass
class _Run:
    """Nests that may be passed, and what stands between them.

    Attributes:
        front: what goes before them.
        rest: they themselves, and what stays where it is.
        does: of each of the rest, what it does.
        all_do: of all of them.
    """

    front: list[Eqn]
    rest: list[Eqn]
    does: list[Touched]
    all_do: Touched

    def add(self, eqn: Eqn, here: Touched, is_cheap: bool) -> None:
        if is_cheap and not self.must_stay(here):
            self.front.append(eqn)
            return
        self.rest.append(eqn)
        self.does.append(here)
        self.all_do.take_in(here)

    def must_stay(self, here: Touched) -> bool:
        if here.raises and any(one.raises for one in self.does):
            return True
        if not self.all_do.binds.isdisjoint(here.asks):
            return True
        return clash(self.all_do, here) and any(clash(one, here) for one in reversed(self.does))


def is_check(eqn: Eqn) -> bool:
    """Whether it does nothing but raise, under some condition."""
    if eqn.op is S.IF and not eqn.results:
        return all(
            e.op is S.RAISE or is_scalar_op(e) or is_check(e) for r in eqn.regions for e in r.eqns
        )
    return False


def _is_cheap(eqn: Eqn) -> bool:
    return is_scalar_op(eqn) or eqn.op in (S.LOAD, S.VIEW) or is_check(eqn)


def _is_nest(eqn: Eqn) -> bool:
    return eqn.op is S.FOR and not any(e.op in UNORDERED for e in walk((eqn,)))
