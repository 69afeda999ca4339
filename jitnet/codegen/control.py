"""Which equations the code generator lowers itself: control flow, checks, tapes, new memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jitnet.codegen import branches, calls, iteration
from jitnet.ir import Eqn, Op
from jitnet.ops.control import CHECK, FOR, IF, INVOKE, WHILE
from jitnet.ops.create import CONST, EMPTY
from jitnet.ops.lists import TAPE_COPY, TAPE_CUT, TAPE_PREPEND, TAPE_SET
from jitnet.ops.tape import (
    TAPE_ADD,
    TAPE_AT,
    TAPE_GET,
    TAPE_LENGTH,
    TAPE_NEW,
    TAPE_PUSH,
    TAPE_PUT,
)

if TYPE_CHECKING:
    from jitnet.codegen.lower import Body

RULES: dict[Op, Callable[[Body, Eqn], None]] = {
    FOR: iteration.lower_for,
    WHILE: iteration.lower_while,
    IF: branches.lower_if,
    INVOKE: calls.lower_invoke,
    CHECK: branches.lower_check,
    CONST: branches.lower_const,
    EMPTY: branches.lower_empty,
    TAPE_NEW: branches.lower_tape_new,
    TAPE_PUSH: branches.lower_tape_push,
    TAPE_PUT: branches.lower_tape_put,
    TAPE_ADD: branches.lower_tape_add,
    TAPE_LENGTH: branches.lower_tape_length,
    TAPE_GET: branches.lower_tape_get,
    TAPE_AT: branches.lower_tape_at,
    TAPE_SET: branches.lower_tape_set,
    TAPE_CUT: branches.lower_tape_cut,
    TAPE_PREPEND: branches.lower_tape_prepend,
    TAPE_COPY: branches.lower_tape_copy,
}
