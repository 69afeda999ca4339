"""New nodes for a syntax tree, in the places of the user's.

    hook("getitem", node, x, k)     J.getitem(x, k), where `node` stands

Every node says where it stands: by the lines and columns of the user's node that it stands for, or
by the place where that begins (without extent) when no error can arise from it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, TypedDict

HOOKS = "__jitnet__"
THUNK = "_jn_"
"""What the names made here begin with; alone, the rest parameter that marks a generated lambda."""


class Position(TypedDict):
    """The fields that say where a node stands."""

    lineno: int
    col_offset: int
    end_lineno: int
    end_col_offset: int


def position(node: Any) -> Position:
    return Position(
        lineno=node.lineno,
        col_offset=node.col_offset,
        end_lineno=node.end_lineno,
        end_col_offset=node.end_col_offset,
    )


def start(node: Any) -> Position:
    """The place where a node begins, without extent."""
    return Position(
        lineno=node.lineno,
        col_offset=node.col_offset,
        end_lineno=node.lineno,
        end_col_offset=node.col_offset,
    )


def spot(node: ast.AST) -> ast.AST:
    """A node without extent where `node` begins, to put others in the place of."""
    return ast.Pass(**start(node))


def assign(name: str, value: ast.expr, at: ast.AST) -> ast.stmt:
    return ast.Assign([store(name, at)], value, **position(at))


def load(name: str, at: ast.AST) -> ast.Name:
    return ast.Name(name, ast.Load(), **start(at))


def store(name: str, at: ast.AST) -> ast.Name:
    return ast.Name(name, ast.Store(), **start(at))


def none(at: ast.AST) -> ast.Constant:
    return ast.Constant(None, **start(at))


def member(name: str, at: ast.AST) -> ast.Attribute:
    """The hook of a name.

    It has no extent: a call through an attribute of several lines is reported at the last of them.
    """
    return ast.Attribute(load(HOOKS, at), name, ast.Load(), **start(at))


def hook(name: str, at: ast.AST, *args: ast.expr) -> ast.Call:
    """`J.name(*args)`, in the place of a node of the user's."""
    return ast.Call(member(name, at), list(args), [], **position(at))


def thunk(body: ast.expr, *parameters: str) -> ast.Lambda:
    """`lambda: body`, marked as generated."""
    return ast.Lambda(arguments(parameters, body, rest=THUNK), body, **position(body))


def definition(
    kind: type[ast.FunctionDef] | type[ast.ClassDef],
    name: str,
    body: list[ast.stmt],
    at: ast.AST,
    **fields: Any,
) -> ast.stmt:
    """`def` or `class`, in any version of Python."""
    if "type_params" in kind._fields:  # Python 3.12
        fields["type_params"] = []
    return kind(name=name, body=body, decorator_list=[], **fields, **position(at))


def arguments(names: Sequence[str], at: ast.AST, rest: str = "") -> ast.arguments:
    """Positional parameters, and one for the rest of them."""
    args = [ast.arg(name, None, None, **start(at)) for name in names]
    vararg = ast.arg(rest, None, None, **start(at)) if rest else None
    return ast.arguments([], args, vararg, [], [], None, [])
