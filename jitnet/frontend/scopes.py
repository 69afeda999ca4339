"""What a piece of syntax does to the function around it: the names it binds, the jumps out of it.

    if x > 0:           binds {y}, leaves (by the return)
        y = 1
        return y

Functions, lambdas and classes are scopes of their own: what happens inside of them is not counted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.AsyncFor | ast.While
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, slots=True)
class Summary:
    """What runs in a piece of syntax, as seen from the function around it."""

    bound: frozenset[str] = frozenset()
    returns: bool = False
    breaks: bool = False  # by `break` or `continue`, to a loop further out
    suspends: bool = False  # by `yield` or `await`

    @property
    def leaves(self) -> bool:
        return self.returns or self.breaks

    @property
    def tied(self) -> bool:
        """Whether an expression must be evaluated in its function itself, not in a lambda."""
        return bool(self.bound) or self.suspends


_NOTHING = Summary()
_SUSPENDING = (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith)


class Summaries:
    """The summaries of the nodes of one tree, each made once: before the node is changed."""

    def __init__(self) -> None:
        self._made: dict[ast.AST, Summary] = {}

    def of(self, node: ast.AST | None) -> Summary:
        if node is None:
            return _NOTHING
        known = self._made.get(node)
        if known is None:
            known = self._made[node] = self._summary(node)
        return known

    def all(self, nodes: Iterable[ast.AST]) -> Summary:
        """The summary of nodes that run one after the other."""
        parts = [part for part in map(self.of, nodes) if part is not _NOTHING]
        if len(parts) < 2:
            return parts[0] if parts else _NOTHING
        return Summary(
            frozenset().union(*(part.bound for part in parts)),
            any(part.returns for part in parts),
            any(part.breaks for part in parts),
            any(part.suspends for part in parts),
        )

    def _summary(self, node: ast.AST) -> Summary:
        inner = self._loop(node) if isinstance(node, Loop) else self.all(_outer_children(node))
        bound = frozenset(_own_names(node))
        returns = isinstance(node, ast.Return)
        breaks = isinstance(node, ast.Break | ast.Continue)
        suspends = isinstance(node, _SUSPENDING)
        suspends |= isinstance(node, ast.comprehension) and bool(node.is_async)
        if not (bound or returns or breaks or suspends):
            return inner
        return Summary(
            bound | inner.bound,
            returns or inner.returns,
            breaks or inner.breaks,
            suspends or inner.suspends,
        )

    def _loop(self, loop: Loop) -> Summary:
        """A loop's own `break` and `continue` do not leave it; those of its `else` do."""
        children = list(ast.iter_child_nodes(loop))
        inner = self.all(children)
        breaks = self.all(loop.orelse).breaks
        return Summary(inner.bound, inner.returns, breaks, inner.suspends)


def _outer_children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that run in the scope around it."""
    if isinstance(node, Function):
        yield from node.decorator_list
        yield from _defaults(node.args)
    elif isinstance(node, ast.Lambda):
        yield from _defaults(node.args)
    elif isinstance(node, ast.ClassDef):
        yield from (*node.decorator_list, *node.bases, *node.keywords)
    elif isinstance(node, ast.AnnAssign):
        yield from (node.target, *([node.value] if node.value else ()))
    elif isinstance(node, ast.comprehension):
        yield from (node.iter, *node.ifs)
    else:
        yield from ast.iter_child_nodes(node)


def _defaults(args: ast.arguments) -> Iterator[ast.expr]:
    yield from args.defaults
    yield from (default for default in args.kw_defaults if default is not None)


def _own_names(node: ast.AST) -> Iterator[str]:
    """The names that a node binds itself."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            yield from (alias.asname or alias.name.split(".")[0] for alias in aliases)
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name


def parameters(args: ast.arguments) -> list[str]:
    """The names of a function's parameters."""
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    starred = [arg for arg in (args.vararg, args.kwarg) if arg is not None]
    return [arg.arg for arg in (*named, *starred)]


def declared(body: Sequence[ast.stmt]) -> tuple[set[str], set[str]]:
    """The names that a function's body declares `global`, and those it declares `nonlocal`."""
    found: tuple[set[str], set[str]] = (set(), set())
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Global):
            found[0].update(node.names)
        elif isinstance(node, ast.Nonlocal):
            found[1].update(node.names)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case) and not isinstance(
            node, Function | ast.ClassDef
        ):
            waiting.extend(ast.iter_child_nodes(node))
    return found
