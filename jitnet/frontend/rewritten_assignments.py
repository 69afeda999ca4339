"""Assignments whose items are read and written through the hooks, in Python's order.

    a[i], b = b, a[i]           _jn_1, _jn_2 = b, J.getitem(a, i)
                                J.setitem(a, i, _jn_1)
                                b = _jn_2

Python evaluates the value first and then, target by target, the parts of each. So what is written
to an item waits in a temporary variable until the targets to its left are done.
"""

from __future__ import annotations

import ast

from jitnet.frontend.rewritten_expressions import Expressions, symbol
from jitnet.frontend.scopes import Summaries
from jitnet.frontend.syntax import assign, hook, load, position, start, store


class Assignments(Expressions, ast.NodeTransformer):
    """Rewrites assignments, and the expressions in them, in place."""

    def __init__(self, summaries: Summaries, first: str | None, in_class: bool) -> None:
        super().__init__(summaries, first, in_class)
        self.temporaries = 0  # of the statement that is being rewritten

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | list[ast.stmt]:
        if not any(map(_stores, node.targets)):
            self.generic_visit(node)
            node.value = _gone_over(node.value, node.targets)
            return node
        value = self.expression(node.value)
        if len(node.targets) == 1:
            return self.write(node.targets[0], value)
        keep, name = self._keep(value)
        writes = (self.write(target, load(name, node.value)) for target in node.targets)
        return [keep, *(statement for write in writes for statement in write)]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | list[ast.stmt]:
        if node.value is not None:
            return self.write(node.target, self.expression(node.value))
        if isinstance(node.target, ast.Name):  # a declaration: the name is the function's already
            return ast.Pass(**position(node))
        self.visit(node.target)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt | list[ast.stmt]:
        target = node.target
        if isinstance(target, ast.Name):
            before = ast.Name(target.id, ast.Load(), **position(target))
            changed = self._changed(node, before)
            return ast.Assign([target], changed, **position(node))
        keep_base, base = self._keep(self.expression(target.value))
        if isinstance(target, ast.Attribute):
            whose = ast.Attribute(load(base, target), target.attr, ast.Load(), **position(target))
            keep_item, name = self._keep(self._changed(node, self.visit_Attribute(whose)))
            into = ast.Attribute(load(base, target), target.attr, ast.Store(), **position(target))
            return [keep_base, keep_item, *self.write(into, load(name, target))]
        keep_key, key = self._keep(self.key(target.slice))
        item = hook("getitem", target, load(base, target), load(key, target))
        keep_item, name = self._keep(self._changed(node, item))
        args = (load(base, target), load(key, target), load(name, target))
        return [keep_base, keep_key, keep_item, _set_item(target, *args)]

    def _changed(self, node: ast.AugAssign, item: ast.expr) -> ast.expr:
        """What an operator in place makes of an item."""
        return hook("in_place", node, symbol(node.op, node), item, self.expression(node.value))

    def visit_Delete(self, node: ast.Delete) -> ast.stmt | list[ast.stmt]:
        if not any(isinstance(target, ast.Subscript) for target in node.targets):
            self.generic_visit(node)
            return node
        made: list[ast.stmt] = []
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                args = self.expression(target.value), self.key(target.slice)
                made.append(ast.Expr(hook("delitem", target, *args), **position(target)))
            else:
                made.append(ast.Delete([self.expression(target)], **position(node)))
        return made

    def write(self, target: ast.expr, value: ast.expr) -> list[ast.stmt]:
        """`target = value`, of a value that is rewritten already."""
        if isinstance(target, ast.Starred):
            return self.write(target.value, value)
        if isinstance(target, ast.Subscript):
            return self._write_item(target, value)
        if isinstance(target, ast.Attribute) and _stores(target):
            return self._write_attribute(target, value)
        value = _gone_over(value, [target])
        if not _stores(target):
            return [ast.Assign([self.expression(target)], value, **position(target))]
        assert isinstance(target, ast.Tuple | ast.List)
        names = [self._temporary() for _ in target.elts]
        parts: list[ast.expr] = []
        for name, element in zip(names, target.elts):
            part: ast.expr = store(name, element)
            if isinstance(element, ast.Starred):
                part = ast.Starred(part, ast.Store(), **position(element))
            parts.append(part)
        at = position(target)
        unpack = ast.Assign([ast.Tuple(parts, ast.Store(), **at)], value, **at)
        writes = map(self.write, target.elts, map(load, names, target.elts))
        return [unpack, *(statement for write in writes for statement in write)]

    def _write_item(self, target: ast.Subscript, value: ast.expr) -> list[ast.stmt]:
        before: list[ast.stmt] = []
        settled = isinstance(value, ast.Name) and not _may_rebind(target)
        if not isinstance(value, ast.Constant) and not settled:  # Python evaluates it first
            keep, name = self._keep(value)
            before, value = [keep], load(name, target)
        base, key = self.expression(target.value), self.key(target.slice)
        return [*before, _set_item(target, base, key, value)]

    def _write_attribute(self, target: ast.Attribute, value: ast.expr) -> list[ast.stmt]:
        """Of an object whose class may say what becomes of it."""
        before: list[ast.stmt] = []
        if not isinstance(value, ast.Constant | ast.Name) or _may_rebind(target):
            keep, name = self._keep(value)
            before, value = [keep], load(name, target)
        name_of = ast.Constant(target.attr, **start(target))
        call = hook("set_attribute", target, self.expression(target.value), name_of, value)
        return [*before, ast.Expr(call, **position(target))]

    def _keep(self, value: ast.expr) -> tuple[ast.stmt, str]:
        """A value in a temporary variable."""
        name = self._temporary()
        return assign(name, value, value), name

    def _temporary(self) -> str:
        self.temporaries += 1
        return f"_jn_{self.temporaries}"


def _set_item(target: ast.Subscript, *args: ast.expr) -> ast.stmt:
    return ast.Expr(hook("setitem", target, *args), **position(target))


def _stores(target: ast.expr) -> bool:
    """Whether an assignment to this target stores an item or an attribute, or unpacks an item.
    Names that Python makes longer, `self.__x`, stay where it sees them."""
    if isinstance(target, ast.Tuple | ast.List):
        return any(isinstance(t, ast.Tuple | ast.List) or _stores(t) for t in target.elts)
    if isinstance(target, ast.Starred):
        return _stores(target.value)
    is_attribute = isinstance(target, ast.Attribute) and not target.attr.startswith("__")
    return is_attribute or isinstance(target, ast.Subscript)


def _gone_over(value: ast.expr, targets: list[ast.expr]) -> ast.expr:
    """A value that is unpacked: an object may say what its items are."""
    is_unpacked = any(isinstance(target, ast.Tuple | ast.List) for target in targets)
    if not is_unpacked or isinstance(value, ast.Tuple | ast.List):
        return value
    return hook("iterable", value, value)


def _may_rebind(target: ast.expr) -> bool:
    """Whether evaluating a target's parts may give a variable another value."""
    rebinding = (ast.Call, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)
    return any(isinstance(node, rebinding) for node in ast.walk(target))
