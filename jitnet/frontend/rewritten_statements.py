"""Statements whose control flow goes through the hooks: blocks become functions.

    if x > 0:               def _jn_then(): return J.Return(y)
        return y            def _jn_rest(): nonlocal y; y = x
    y = x                   return J.result(J.if_(x > 0, _jn_then, None, _jn_rest))

The function of a block (a *thunk*) shares the variables of the user's function (`nonlocal`), and
returns a signal: None where control falls through, or `J.BREAK`, `J.CONTINUE`, `J.Return(value)`.
A statement that jumps out of itself takes the rest of its block along as a thunk, because whether
that runs is known to the hooks alone. Statements that suspend the function (`yield`, `await`), and
those that jump out of a `finally`, stay Python's: *plain*.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from jitnet.frontend.rewritten_assignments import Assignments
from jitnet.frontend.scopes import Function, Summaries, declared, parameters
from jitnet.frontend.syntax import (
    arguments,
    assign,
    definition,
    hook,
    load,
    member,
    none,
    position,
    spot,
    start,
    store,
    thunk,
)

_Jump = ast.Return | ast.Break | ast.Continue
_Try = ast.Try | ast.TryStar
_Writer = Callable[[str, Sequence[ast.stmt]], list[ast.stmt]]
"""Writes a block; the name is that of its thunk, should it become one."""
_SIGNAL = "_jn_signal"


@dataclass(frozen=True)
class _Place:
    """Where a statement is written to."""

    in_thunk: bool = False
    plain: bool = False  # inside of a plain statement: what jumps is plain too
    in_plain_loop: bool = False


_IN_THUNK = _Place(in_thunk=True)


def function(node: Function, in_class: bool = False) -> Function:
    """Rewrite the body of a function, in place."""
    node.body = [_Returns().visit(statement) for statement in node.body]
    summaries = Summaries()
    summary = summaries.all(node.body)
    named = [*node.args.posonlyargs, *node.args.args]
    globals_, nonlocals = declared(node.body)
    writer = Statements(summaries, named[0].arg if named else None, in_class, globals_)
    if summary.suspends or isinstance(node, ast.AsyncFunctionDef):
        writer.place = _Place(plain=True)
    own = summary.bound - globals_ - nonlocals - set(parameters(node.args))
    docstring = 1 if ast.get_docstring(node, clean=False) is not None else 0
    head = _declarations(globals_, nonlocals, own, node.body[0])
    node.body = [*node.body[:docstring], *head, *writer.block(node.body[docstring:])]
    return node


class _Returns(ast.NodeTransformer):
    """`return a if c else b` becomes `if c: return a`, `else: return b`: two returns may differ by
    more than the values of an expression."""

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        if not isinstance(node.value, ast.IfExp):
            return node
        ways = (node.value.body, node.value.orelse)
        one, other = (self.visit_Return(ast.Return(way, **position(node))) for way in ways)
        return ast.If(node.value.test, [one], [other], **position(node))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return node if isinstance(node, ast.expr) else super().generic_visit(node)


def _declarations(
    globals_: AbstractSet[str], nonlocals: AbstractSet[str], own: AbstractSet[str], at: ast.AST
) -> list[ast.stmt]:
    """Whose the names are that a function binds; its own may be bound in thunks only."""
    where = start(at)
    made: list[ast.stmt] = []
    if globals_:
        made.append(ast.Global(sorted(globals_), **where))
    if nonlocals:
        made.append(ast.Nonlocal(sorted(nonlocals), **where))
    if own:  # `if False: a = b = None` makes them the function's, and leaves them unbound
        never = ast.Assign([store(name, at) for name in sorted(own)], none(at), **where)
        made.append(ast.If(ast.Constant(False, **where), [never], [], **where))
    return made


class Statements(Assignments, ast.NodeTransformer):
    """Rewrites the statements of one function.

    Args:
        globals_: the names that the function declares `global`.
    """

    def __init__(
        self, summaries: Summaries, first: str | None, in_class: bool, globals_: set[str]
    ) -> None:
        super().__init__(summaries, first, in_class)
        self.globals = globals_
        self.place = _Place()

    # Blocks

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Statements that run one after the other."""
        made: list[ast.stmt] = []
        for i, statement in enumerate(statements):
            if self._parts(statement):
                return made + self._parting(statement, statements[i + 1 :])
            self.temporaries = 0
            written = self.visit(statement)
            made.extend(written if isinstance(written, list) else [written])
        return made

    def _parts(self, statement: ast.stmt) -> bool:
        """Whether what follows a statement must become a thunk."""
        if self.place.plain or isinstance(statement, _Jump):
            return False
        return self.summaries.of(statement).leaves and not self._plain_try(statement)

    def _plain_try(self, statement: ast.stmt) -> bool:
        return isinstance(statement, _Try) and self.summaries.all(statement.finalbody).leaves

    def _is_plain(self, statement: ast.stmt) -> bool:
        summary = self.summaries.of(statement)
        return summary.suspends or summary.leaves

    def _plain_block(self, statements: Sequence[ast.stmt], loop: bool = False) -> list[ast.stmt]:
        outer = self.place
        self.place = replace(outer, plain=True, in_plain_loop=loop or outer.in_plain_loop)
        made = self.block(statements)
        self.place = outer
        return made

    def _thunk(self, name: str, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The definition of a block's thunk; nothing for an empty block."""
        if not statements:
            return []
        outer, self.place = self.place, _IN_THUNK
        body = self.block(statements)
        self.place = outer
        return [self._definition(name, body, self.summaries.all(statements).bound, statements[0])]

    def _definition(
        self, name: str, body: list[ast.stmt], bound: frozenset[str], at: ast.AST, *args: str
    ) -> ast.stmt:
        """`def name(*args): body`, in which the names bound are the user's function's."""
        head = _declarations(bound & self.globals, bound - self.globals, frozenset(), at)
        return definition(ast.FunctionDef, name, [*head, *body], at, args=arguments(args, at))

    def _parting(self, statement: ast.stmt, following: Sequence[ast.stmt]) -> list[ast.stmt]:
        """A statement that jumps, with what follows it in its block."""
        rest = self._thunk("_jn_rest", following)
        last = _name_or_none(rest, statement)
        if isinstance(statement, ast.If | ast.While | ast.For):
            before, call = self._control(statement)
            call.args.append(last)
            return [*before, *rest, self._leave(call)]
        clear = assign(_SIGNAL, none(statement), spot(statement))
        written = self._signalling(statement)
        then = hook("then", spot(statement), load(_SIGNAL, statement), last)
        return [clear, *rest, written, self._leave(then)]

    def _leave(self, signal: ast.Call) -> ast.stmt:
        value = signal if self.place.in_thunk else hook("result", signal, signal)
        return ast.Return(value, **position(signal))

    # Conditions and loops

    def _control(self, node: ast.If | ast.While | ast.For) -> tuple[list[ast.stmt], ast.Call]:
        """The thunks of a statement, and the call of its hook."""
        if isinstance(node, ast.If):
            blocks = [self._thunk("_jn_then", node.body), self._thunk("_jn_else", node.orelse)]
            call = hook("if_", node.test, self.condition(node.test))
        elif isinstance(node, ast.While):
            test, body = self._test(node.test), self._thunk("_jn_body", node.body)
            blocks = [test, body, self._thunk("_jn_else", node.orelse)]
            call = hook("while_", node.test)
        else:
            blocks = [self._body(node), self._thunk("_jn_else", node.orelse)]
            call = hook("for_", node.iter, self.expression(node.iter))
        call.args.extend(_name_or_none(block, node) for block in blocks)
        return [made for block in blocks for made in block], call

    def _test(self, test: ast.expr) -> list[ast.stmt]:
        bound = self.summaries.of(test).bound
        body: list[ast.stmt] = [ast.Return(self.condition(test), **position(test))]
        return [self._definition("_jn_test", body, bound, test)]

    def _body(self, loop: ast.For) -> list[ast.stmt]:
        """The thunk of a loop's body, which is given the item."""
        bound = self.summaries.all((loop.target, *loop.body)).bound
        outer, self.place = self.place, _IN_THUNK
        self.temporaries = 0
        item = self.write(loop.target, load("_jn_item", loop.target))
        body = [*item, *self.block(loop.body)]
        self.place = outer
        return [self._definition("_jn_body", body, bound, loop.target, "_jn_item")]

    def _hooked(self, node: ast.If | ast.While | ast.For) -> list[ast.stmt]:
        before, call = self._control(node)
        return [*before, ast.Expr(call, **position(call))]

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        if not self._is_plain(node):
            return self._hooked(node)
        node.test = self.truth(node.test)
        node.body, node.orelse = self._plain_block(node.body), self._plain_block(node.orelse)
        return node

    def visit_While(self, node: ast.While) -> ast.stmt | list[ast.stmt]:
        if not self._is_plain(node):
            return self._hooked(node)
        node.test = self.truth(node.test)
        node.body = self._plain_block(node.body, loop=True)
        node.orelse = self._plain_block(node.orelse)
        return node

    def visit_For(self, node: ast.For) -> ast.stmt | list[ast.stmt]:
        if not self._is_plain(node):
            return self._hooked(node)
        node.iter = self.iterated(node.iter)
        return self._plain_for(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.stmt:
        node.iter = self.expression(node.iter)
        return self._plain_for(node)

    def _plain_for(self, node: ast.For | ast.AsyncFor) -> ast.stmt:
        node.target = self.expression(node.target)
        node.body = self._plain_block(node.body, loop=True)
        node.orelse = self._plain_block(node.orelse)
        return node

    # Jumps

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        if self.place.in_thunk:
            value = none(node) if node.value is None else self.expression(node.value)
            node.value = hook("Return", node.value or node, value)
            return node
        self.generic_visit(node)
        return node

    def visit_Break(self, node: ast.Break) -> ast.stmt:
        return self._jump(node, "BREAK")

    def visit_Continue(self, node: ast.Continue) -> ast.stmt:
        return self._jump(node, "CONTINUE")

    def _jump(self, node: ast.Break | ast.Continue, signal: str) -> ast.stmt:
        if self.place.in_plain_loop:
            return node
        return ast.Return(member(signal, node), **position(node))

    # Blocks that stay where they are: with, try, match

    def _signalling(self, node: ast.stmt) -> ast.stmt:
        """A statement that leaves the signal of the block that ran behind, as `_jn_signal`."""
        if isinstance(node, ast.With):
            return self._with(node, self._signalled)
        if isinstance(node, ast.Match):
            return self._match(node, self._signalled)
        assert isinstance(node, _Try)
        return self._try(node, self._signalled, self._signalled_else(node))

    def _signalled(self, name: str, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """A block in place, which leaves its signal behind where it jumps."""
        if not self.summaries.all(statements).leaves:
            return self.block(statements)
        at = spot(statements[0])
        call = ast.Call(load(name, at), [], [], **position(at))
        return [*self._thunk(name, statements), assign(_SIGNAL, call, at)]

    def _signalled_else(self, node: _Try) -> list[ast.stmt]:
        """The `else` of a `try` that jumps: it runs where the body has fallen through."""
        if not node.orelse or not self.summaries.all((*node.body, *node.orelse)).leaves:
            return self.block(node.orelse)
        at = spot(node.orelse[0])
        call = hook("then", at, load(_SIGNAL, at), load("_jn_else", at))
        return [*self._thunk("_jn_else", node.orelse), assign(_SIGNAL, call, at)]

    def _in_place(self, node: ast.stmt) -> _Writer:
        """How to write the blocks of a statement that is not left by jumps, or is plain."""
        write = self._plain_block if self._is_plain(node) else self.block
        return lambda name, statements: write(statements)

    def _with(self, node: ast.With | ast.AsyncWith, write: _Writer) -> ast.stmt:
        node.items = [self.visit(item) for item in node.items]
        if isinstance(node, ast.With):
            for item in node.items:
                item.context_expr = hook("managed", item.context_expr, item.context_expr)
        node.body = write("_jn_body", node.body)
        return node

    def _match(self, node: ast.Match, write: _Writer) -> ast.stmt:
        node.subject = self.expression(node.subject)
        for case in node.cases:
            if case.guard is not None:
                case.guard = self.truth(case.guard)
            case.body = write("_jn_case", case.body)
        return node

    def _try(self, node: _Try, write: _Writer, orelse: list[ast.stmt]) -> ast.stmt:
        at = spot(node.body[0])
        node.body, node.orelse = write("_jn_body", node.body), orelse
        if node.handlers:
            node.body = [self._inside("trying", node.body, at)]
        for handler in node.handlers:
            if handler.type is not None:
                handler.type = self.expression(handler.type)
            handler.body = write("_jn_handler", handler.body)
        returns = self.summaries.all(node.finalbody).leaves
        node.finalbody = write("_jn_finally", node.finalbody)
        if returns:
            tried = type(node)(node.body, node.handlers, node.orelse, [], **position(node))
            body: list[ast.stmt] = [tried] if node.handlers else node.body
            node.body, node.handlers, node.orelse = [self._inside("trying", body, at)], [], []
        return self._inside("handling", [node], at) if node.handlers or returns else node

    def _inside(self, manager: str, body: list[ast.stmt], at: ast.AST) -> ast.stmt:
        return ast.With([ast.withitem(hook(manager, at), None)], body, **position(at))

    def visit_With(self, node: ast.With) -> ast.stmt:
        return self._with(node, self._in_place(node))

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.stmt:
        return self._with(node, self._in_place(node))

    def visit_Match(self, node: ast.Match) -> ast.stmt:
        return self._match(node, self._in_place(node))

    def visit_Try(self, node: ast.Try) -> ast.stmt:
        write = self._in_place(node)
        return self._try(node, write, write("_jn_else", node.orelse))

    def visit_TryStar(self, node: ast.TryStar) -> ast.stmt:
        write = self._in_place(node)
        return self._try(node, write, write("_jn_else", node.orelse))

    # Other statements

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        if not __debug__:
            return ast.Pass(**position(node))
        if node.msg is not None and self.summaries.of(node.msg).tied:
            node.test, node.msg = self.truth(node.test), self.expression(node.msg)
            return node
        message = [thunk(self.expression(node.msg))] if node.msg is not None else []
        call = hook("assert_", node, self.condition(node.test), *message)
        return ast.Expr(call, **position(node))

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        self.generic_visit(node)
        if node.exc is not None:
            node.exc = hook("raised", node.exc, node.exc)
        return node

    def visit_Global(self, node: ast.Global) -> ast.stmt:
        return ast.Pass(**position(node))  # declared at the head

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.stmt:
        return ast.Pass(**position(node))

    # Scopes inside of this one: their decorators and annotations stay as they are

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return self._inner_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return self._inner_function(node)

    def _inner_function(self, node: Function) -> ast.stmt:
        node.args.defaults = [self.expression(default) for default in node.args.defaults]
        node.args.kw_defaults = [
            default and self.expression(default) for default in node.args.kw_defaults
        ]
        return function(node, self.in_class)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        for statement in node.body:  # a class's own statements are not the function's control flow
            if isinstance(statement, Function):
                function(statement, in_class=True)
            elif isinstance(statement, ast.ClassDef):
                self.visit_ClassDef(statement)
        return node


def _name_or_none(made: Sequence[ast.stmt], at: ast.AST) -> ast.expr:
    """The thunk that was made, or None where the block is empty."""
    if not made:
        return none(at)
    assert isinstance(made[0], ast.FunctionDef)
    return load(made[0].name, at)
