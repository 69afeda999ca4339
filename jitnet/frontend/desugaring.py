"""Statements that are other statements: `match`, and names that are bound on the way in conditions.

    match state, bit:                       if state == 0 and bit == 1:
        case 0, 1:                              state = 2
            state = 2               ->      else:
        case s, _:                              s = state
            state = s                           state = s

    if x > 0 and (y := f(x)) > 1:           if x > 0:
        z = y                       ->          if (y := f(x)) > 1:
                                                    z = y

So data may decide which case it is. Patterns that ask what is equal to what are conditions: values,
names, `|`, `as`, and tuples of them where the subject is written as a tuple. Classes, keys, and
whether an object is a sequence, are known while the function is traced: such a statement stays.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from jitnet.frontend.syntax import load, position, store

Function = ast.FunctionDef | ast.AsyncFunctionDef

_NAME = "_jn_kept"


def desugared(node: Function) -> Function:
    """A function's tree without such statements."""
    _Desugaring().generic_visit(node)
    return node


class _UnlikeConditionsError(Exception):
    """A pattern that asks for more than for values."""


class _Desugaring(ast.NodeTransformer):
    def __init__(self) -> None:
        self.count = 0

    def _name(self) -> str:
        self.count += 1
        return f"{_NAME}_{self.count}"

    def visit_Match(self, node: ast.Match) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        before, subject = self._kept(node.subject)
        try:
            rest: list[ast.stmt] = []
            for case in reversed(node.cases):
                rest = self._case(case, subject, rest)
        except _UnlikeConditionsError:
            return node
        return [*before, *rest]

    def _case(
        self, case: ast.match_case, subject: ast.expr, rest: list[ast.stmt]
    ) -> list[ast.stmt]:
        """A case, and what follows where it is another one."""
        pattern, guard, at = case.pattern, case.guard, position(case.pattern)
        asked = _asked(pattern, subject)
        body = [*asked.bindings(pattern), *case.body]
        if guard is None:
            return [ast.If(asked.whole(pattern), body, rest, **at)] if asked.tests else body
        if not asked.tests:
            return [*asked.bindings(pattern), *self._settled(ast.If(guard, body, rest, **at))]
        name = self._name()
        guard = _Substitution(asked.names).visit(deepcopy(guard))
        return [
            ast.Assign([store(name, pattern)], _truth(asked.whole(pattern)), **at),
            ast.If(load(name, pattern), asked.bindings(pattern), [], **at),
            ast.If(
                load(name, pattern),
                [ast.Assign([store(name, guard)], _truth(guard), **at)],
                [],
                **at,
            ),
            ast.If(load(name, pattern), body, rest, **at),
        ]

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        self.generic_visit(node)
        return self._settled(node)

    def _settled(self, node: ast.If) -> list[ast.stmt]:
        """An `if` whose condition binds no names in a part that may be skipped."""
        test = node.test
        if not isinstance(test, ast.BoolOp) or not any(map(_binds, test.values[1:])):
            return [node]
        if isinstance(test.op, ast.And) and not node.orelse:
            body = node.body
            for part in reversed(test.values):
                body = [ast.If(part, body, [], **position(part))]
            return body
        name, made = self._name(), list[ast.stmt]()
        for k, part in enumerate(test.values):
            at = position(part)
            assign = ast.Assign([store(name, part)], _truth(part), **at)
            so_far: ast.expr = load(name, part)
            if isinstance(test.op, ast.Or):
                so_far = ast.UnaryOp(ast.Not(), so_far, **at)
            made.append(ast.If(so_far, [assign], [], **at) if k else assign)
        node.test = load(name, test)
        return [*made, node]

    def _kept(self, subject: ast.expr) -> tuple[list[ast.stmt], ast.expr]:
        """A subject as names and constants, and what computes it."""
        parts = subject.elts if isinstance(subject, ast.Tuple) else [subject]
        if any(isinstance(part, ast.Starred) for part in parts):
            parts = [subject]
        if all(isinstance(part, ast.Name | ast.Constant) for part in parts):
            return [], subject
        before: list[ast.stmt] = []
        names: list[ast.expr] = []
        for part in parts:
            name = self._name()
            before.append(ast.Assign([store(name, part)], part, **position(part)))
            names.append(load(name, part))
        if parts == [subject]:
            return before, names[0]
        return before, ast.Tuple(names, ast.Load(), **position(subject))


def _binds(part: ast.expr) -> bool:
    return any(isinstance(node, ast.NamedExpr) for node in ast.walk(part))


def _truth(x: ast.expr) -> ast.expr:
    at = position(x)
    return ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), x, **at), **at)


@dataclass
class _Asked:
    """What a pattern asks for: conditions, and names for parts of the subject."""

    tests: list[ast.expr] = field(default_factory=list)
    names: dict[str, ast.expr] = field(default_factory=dict)

    def whole(self, at: ast.AST) -> ast.expr:
        if len(self.tests) == 1:
            return self.tests[0]
        return ast.BoolOp(ast.And(), self.tests, **position(at))

    def bindings(self, at: ast.AST) -> list[ast.stmt]:
        names = self.names.items()
        return [ast.Assign([store(n, at)], deepcopy(x), **position(at)) for n, x in names]


def _asked(pattern: ast.pattern, subject: ast.expr) -> _Asked:
    found = _Asked()
    _ask(found, pattern, subject)
    return found


def _ask(found: _Asked, pattern: ast.pattern, subject: ast.expr) -> None:
    at = position(pattern)
    match pattern:
        case ast.MatchValue(value):
            found.tests.append(ast.Compare(deepcopy(subject), [ast.Eq()], [value], **at))
        case ast.MatchSingleton(value):
            constant = ast.Constant(value, **at)
            found.tests.append(ast.Compare(deepcopy(subject), [ast.Is()], [constant], **at))
        case ast.MatchAs(inner, name):
            if inner is not None:
                _ask(found, inner, subject)
            if name is not None:
                found.names[name] = subject
        case ast.MatchOr(alternatives):
            asked = [_asked(one, subject) for one in alternatives]
            if any(one.names for one in asked):
                raise _UnlikeConditionsError
            if all(one.tests for one in asked):
                tests = [one.whole(pattern) for one in asked]
                found.tests.append(ast.BoolOp(ast.Or(), tests, **at))
        case ast.MatchSequence(patterns) if isinstance(subject, ast.Tuple):
            _ask_for_parts(found, patterns, subject, pattern)
        case _:
            raise _UnlikeConditionsError


def _ask_for_parts(
    found: _Asked, patterns: Sequence[ast.pattern], subject: ast.Tuple, at: ast.AST
) -> None:
    parts: list[ast.expr] = list(subject.elts)
    star = next((k for k, one in enumerate(patterns) if isinstance(one, ast.MatchStar)), None)
    if star is not None and len(patterns) <= len(parts) + 1:
        end = len(parts) - (len(patterns) - star - 1)
        taken = ast.List([deepcopy(part) for part in parts[star:end]], ast.Load(), **position(at))
        parts[star:end] = [taken]
    if len(parts) != len(patterns):
        found.tests.append(ast.Constant(False, **position(at)))
        return
    for pattern, part in zip(patterns, parts):
        if not isinstance(pattern, ast.MatchStar):
            _ask(found, pattern, part)
        elif pattern.name is not None:
            found.names[pattern.name] = part


class _Substitution(ast.NodeTransformer):
    """Puts what names stand for in their place."""

    def __init__(self, names: Mapping[str, ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return deepcopy(self.names.get(node.id, node))
