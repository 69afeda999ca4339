"""Expressions whose calls, subscripts, conditions and comprehensions go through the hooks.

    np.exp(x[i]) if c and d else 0.0

    J.ifexp(J.and_(c, lambda: d), lambda: J.call(np.exp, J.getitem(x, i)), lambda: 0.0)

J stands for the free variable `__jitnet__`, which holds the hooks. What a condition may leave out
becomes a *thunk*, a function without arguments. An expression that binds a name with `:=`, or that
suspends its function, must be evaluated in the function itself: around it conditions stay Python's,
and only their truth is asked of the hooks. New nodes stand where the user's stood.
"""

from __future__ import annotations

import ast

from jitnet.frontend.scopes import Comprehension, Summaries
from jitnet.frontend.syntax import hook, load, member, none, position, start, thunk

_FRAME_BUILTINS = frozenset(("super", "locals", "globals", "vars", "dir", "eval", "exec"))
"""Functions that look at the frame that calls them."""
_LOCALS = {"locals": 1, "vars": 1, "dir": 1, "eval": 2, "exec": 2}
"""The functions that see the caller's variables when called with fewer arguments than this."""
_CONSUMERS = frozenset(
    ("sum", "min", "max", "any", "all", "list", "tuple", "set", "frozenset", "dict", "sorted")
)
_SYMBOLS: dict[type[ast.AST], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.USub: "-",
    ast.UAdd: "+",
    ast.Invert: "~",
}


def symbol(op: ast.AST, at: ast.AST) -> ast.expr:
    """An operator, as the hooks are told of it."""
    return ast.Constant(_SYMBOLS[type(op)], **start(at))


class UnrewritableError(Exception):
    """Rewriting would change what the function means."""


class Expressions(ast.NodeTransformer):
    """Rewrites the expressions of one scope, in place.

    Args:
        summaries: what the nodes of the tree do.
        first: the first parameter, which `super()` means; None in a lambda.
        in_class: whether the scope lies in a class.
    """

    def __init__(self, summaries: Summaries, first: str | None, in_class: bool) -> None:
        self.summaries = summaries
        self.first = first
        self.in_class = in_class

    def expression(self, node: ast.expr) -> ast.expr:
        made: ast.expr = self.visit(node)
        return made

    def truth(self, node: ast.expr) -> ast.expr:
        return hook("truth", node, self.condition(node))

    def iterated(self, node: ast.expr) -> ast.expr:
        return hook("iterate", node, self.expression(node))

    def _movable(self, *nodes: ast.expr) -> bool:
        """Whether expressions may be evaluated in functions of their own."""
        return not any(self.summaries.of(node).tied for node in nodes)

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        self.visit(node.args)
        node.body = Expressions(self.summaries, None, self.in_class).expression(node.body)
        return node

    # Calls and subscripts

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        empty = not (node.args or node.keywords)
        if isinstance(node.func, ast.Attribute):  # a method: no property is asked for
            node.func.value = self.expression(node.func.value)
        else:
            node.func = self.expression(node.func)
        node.args = [self.expression(arg) for arg in node.args]
        for keyword in node.keywords:
            keyword.value = self.expression(keyword.value)
        if name in _FRAME_BUILTINS:
            if empty and name == "super" and self.in_class and self.first is not None:
                # In a thunk, super() would find neither the class nor the first argument.
                node.args = [load("__class__", node), load(self.first, node)]
            if name in _LOCALS and len(node.args) + len(node.keywords) < _LOCALS[name]:
                raise UnrewritableError(f"{name}() sees the local variables")
            return node
        call = member("call", node.func)
        if isinstance(node.func, ast.Attribute) and node.func.lineno != node.func.end_lineno:
            # In a chain of several lines, Python places each call where the method's name begins,
            # reckoned from its end.
            end = node.func.end_col_offset or 0
            call.end_lineno = node.func.end_lineno
            call.end_col_offset = end + len("call") - len(node.func.attr)
        return ast.Call(call, [node.func, *node.args], node.keywords, **position(node))

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if not isinstance(node.ctx, ast.Load):
            self.generic_visit(node)
            return node
        return hook("getitem", node, self.expression(node.value), self.key(node.slice))

    def key(self, node: ast.expr) -> ast.expr:
        """What stands between the brackets, with `J.slice` for slices."""
        if isinstance(node, ast.Tuple):
            node.elts = [self.key(element) for element in node.elts]
            return node
        if not isinstance(node, ast.Slice):
            return self.expression(node)
        ends = (node.lower, node.upper, node.step)
        return hook("slice", node, *(self.expression(end) if end else none(node) for end in ends))

    # Attributes and items of the user's objects

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith("__"):
            return node
        return hook("attribute", node, node.value, ast.Constant(node.attr, **start(node)))

    def visit_Starred(self, node: ast.Starred) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            node.value = hook("iterable", node.value, node.value)
        return node

    # Texts

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        """`J.text("step ", J.formatted(k, "", ""))`: each value is formatted in its turn."""
        parts: list[ast.expr] = []
        for part in node.values:
            if not isinstance(part, ast.FormattedValue):
                parts.append(ast.Constant(part.value, **start(node)))  # type: ignore[attr-defined]
                continue
            value = self.expression(part.value)
            spec = part.format_spec
            how = ast.Constant("" if part.conversion < 0 else chr(part.conversion), **start(node))
            into = self.expression(spec) if spec else ast.Constant("", **start(node))
            parts.append(hook("formatted", part, value, how, into))
        return hook("text", node, *parts)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Operators of two operands, and `"..." % values`."""
        self.generic_visit(node)
        if isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant):
            return node
        is_text = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        if is_text and isinstance(node.op, ast.Mod):
            return hook("percent", node, node.left, node.right)
        return hook("binary", node, symbol(node.op, node), node.left, node.right)

    # Conditions

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        movable = self._movable(node.body, node.orelse)
        body, orelse = self.expression(node.body), self.expression(node.orelse)
        if movable:
            return hook("ifexp", node, self.condition(node.test), thunk(body), thunk(orelse))
        node.test, node.body, node.orelse = self.truth(node.test), body, orelse
        return node

    def condition(self, node: ast.expr) -> ast.expr:
        """An expression of which only the truth is asked for: that of `stack and stack[-1] > x` is
        a bool, though Python's value may be the list."""
        return self._both(node, True) if isinstance(node, ast.BoolOp) else self.expression(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return self._both(node, False)

    def _both(self, node: ast.BoolOp, only_truth: bool) -> ast.expr:
        movable = self._movable(*node.values[1:])
        if only_truth:
            node.values = [self._tested(value) for value in node.values]
        else:
            self.generic_visit(node)
        if not movable:
            return node
        name = "and_" if isinstance(node.op, ast.And) else "or_"
        first, *others = node.values
        return hook(name, node, first, *map(thunk, others))

    def _tested(self, node: ast.expr) -> ast.expr:
        made = self.condition(node)
        may_be_container = isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call)
        return hook("tested", node, made) if may_be_container else made

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if not isinstance(node.op, ast.Not):
            self.generic_visit(node)
            if isinstance(node.operand, ast.Constant):
                return node
            return hook("unary", node, symbol(node.op, node), node.operand)
        return hook("not_", node, self.condition(node.operand))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        movable = self._movable(*node.comparators)
        self.generic_visit(node)
        if len(node.ops) == 1:
            name = {ast.In: "in_", ast.NotIn: "not_in"}.get(type(node.ops[0]))
            if name is not None:
                return hook(name, node, node.left, *node.comparators)
            return self._single_comparison(node)
        if not movable:
            return node
        links: list[ast.expr] = []
        for op, right in zip(node.ops, node.comparators):
            how = symbol(op, right)
            links.append(ast.Tuple([how, thunk(right)], ast.Load(), **position(right)))
        return hook("compare", node, node.left, *links)

    def _single_comparison(self, node: ast.Compare) -> ast.expr:
        """Numbers and arrays compare themselves; tuples and lists of them cannot, nor does what is
        one of several objects know which one it is, and objects may say what order they have."""
        return hook("compared", node, symbol(node.ops[0], node), node.left, *node.comparators)

    # Comprehensions

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> ast.expr:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> ast.expr:
        return self._comprehension(node)

    def _comprehension(self, node: Comprehension) -> ast.expr:
        if isinstance(node, ast.ListComp | ast.GeneratorExp) and self._is_a_map(node):
            return self._map(node)
        for part in node.generators:
            part.target = self.expression(part.target)
            part.iter = self.expression(part.iter) if part.is_async else self.iterated(part.iter)
            part.ifs = [self.truth(condition) for condition in part.ifs]
        for field in ("elt", "key", "value"):
            if hasattr(node, field):
                setattr(node, field, self.expression(getattr(node, field)))
        return node

    def _is_a_map(self, node: ast.ListComp | ast.GeneratorExp) -> bool:
        """Whether each element is a function of one item, and of nothing that outlives it."""
        part = node.generators[0]
        return (
            len(node.generators) == 1
            and not part.is_async
            and not any(isinstance(t, ast.Attribute | ast.Subscript) for t in ast.walk(part.target))
            and self._movable(node.elt, *part.ifs)
            and not any(map(_captures_late, (node.elt, *part.ifs)))
        )

    def _map(self, node: ast.ListComp | ast.GeneratorExp) -> ast.expr:
        """`J.comprehension(items, lambda target: element, kind)`, and a function for the condition
        where there is one."""
        part = node.generators[0]
        items = self.expression(part.iter)
        functions = [_of_item(part.target, self.expression(node.elt))]
        if part.ifs:
            first, last = part.ifs[0], part.ifs[-1]
            both = ast.BoolOp(ast.And(), part.ifs, **position(first))
            both.end_lineno, both.end_col_offset = last.end_lineno, last.end_col_offset
            test = first if first is last else both
            functions.append(_of_item(part.target, self.condition(test)))
        kind = ast.Constant(
            "list" if isinstance(node, ast.ListComp) else "generator", **start(node)
        )
        return hook("comprehension", node, items, functions[0], kind, *functions[1:])


def _of_item(target: ast.expr, value: ast.expr) -> ast.expr:
    """`lambda target: value`."""
    if isinstance(target, ast.Name):
        return thunk(value, target.id)
    # A comprehension over one item unpacks it as the user's would, errors included.
    item = ast.Tuple([load("_jn_item", target)], ast.Load(), **start(target))
    one = ast.ListComp(value, [ast.comprehension(target, item, [], 0)], **position(value))
    only = ast.Subscript(one, ast.Constant(0, **start(one)), ast.Load(), **position(one))
    return thunk(only, "_jn_item")


def _captures_late(node: ast.AST) -> bool:
    """Whether a lambda or a generator in here may look at the loop variable after its turn."""
    if isinstance(node, ast.Lambda | ast.GeneratorExp):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        match node.args:
            case [ast.GeneratorExp() as generator] if node.func.id in _CONSUMERS:
                return any(map(_captures_late, ast.iter_child_nodes(generator)))
    return any(map(_captures_late, ast.iter_child_nodes(node)))
