"""Tangents of functions with a rule for reverse mode, where they are wanted forwards.

    %dy = custom_tangent %x, %r, %dx {...}      ->      the equations of @push, if there is such,
                                                        or those of @back transposed

`linearize` leaves such equations for `transpose`, which uses the rule. Where the linear half is not
transposed, `written_out` puts other equations there.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet import errors
from jitnet.ir import Definition, Eqn, Function, Value, current, rewrite, rule
from jitnet.ops.custom_rules import CUSTOM_TANGENT, tangent_operands
from jitnet.ops.residuals import separated
from jitnet.transforms.split import split
from jitnet.transforms.transpose import transpose


@rule(CUSTOM_TANGENT)
def _forwards(eqn: Eqn, definition: Definition) -> Sequence[Value]:
    parts = tangent_operands(eqn.operands, eqn.attrs, eqn.regions)
    if parts.push is not None:
        values = current().inline(parts.push, [*parts.consts, *parts.args, *parts.tangents])
        return values[len(values) - len(eqn.results) :]
    known = [*parts.consts, *parts.residuals]
    unknown = [i >= len(known) for i in range(len(parts.back.params))]
    try:
        pushed = transpose(separated(parts.back, unknown, split), unknown)
    except errors.DifferentiationError as error:
        raise errors.DifferentiationError(
            f"forward mode through {eqn.attrs['name']}, whose only rule is for reverse mode, and "
            "cannot be transposed",
            why=error.what,
            remedy="give it a rule for forward mode too, with defjvp",
            frames=eqn.loc.frames or None,
        ) from None
    return current().inline(pushed, [*known, *parts.tangents])


def written_out(f: Function) -> Function:
    """`f` without `custom_tangent`.

    Raises:
        DifferentiationError: where a rule for reverse mode is not linear in the cotangents.
    """
    return rewrite(f, [_forwards])
