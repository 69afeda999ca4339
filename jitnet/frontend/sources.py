"""The syntax tree of a function, found in its source and proved to be what it was compiled from.

    f = lambda x: x + 1, lambda x: x - 1      two functions on one line, told apart by position

Source is read through `linecache`, which knows files, notebook cells, doctests, and whatever else
registers itself there. What is found is compiled as it stands, inside a factory that gives it its
free variables and its class; where that does not give the function's own code, the source has
changed since, and nothing is found.
"""

from __future__ import annotations
import __future__

import ast
import linecache
from collections.abc import Iterator, Sequence
from types import CodeType

from jitnet.frontend.scopes import Function
from jitnet.frontend.syntax import arguments, definition, position, spot

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_LONGEST_IMPORT = 100  # lines
_CO_OPTIMIZED = 0x01  # inspect.CO_OPTIMIZED
_ATTEMPTS = 16  # at parsing a block alone, before the whole file is


def find(code: CodeType) -> FunctionNode | None:
    """The node that `code` was compiled from, without decorators, defaults and annotations.

    None where there is no source, or where it does not match.
    """
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    if not 0 < code.co_firstlineno <= len(lines):
        return None
    if not all(name.isidentifier() for name in code.co_freevars):
        return None
    for tree, imported in _trees(lines, code):
        for node in _candidates(tree, code):
            _strip(node)
            if _matches(compiled(node, code, imported=imported), code):
                return node
    return None


def _trees(lines: list[str], code: CodeType) -> Iterator[tuple[ast.Module, list[str]]]:
    """Trees that may hold the function: its lines alone, then the whole file.

    Each comes with the names that the module imports: Python compiles `np.exp(x)` in another way
    where they have `np`.
    """
    first = code.co_firstlineno - 1
    indent = _indent(lines[first])
    # Blank lines, and a line that opens a block, keep the positions as they are in the file.
    head = "\n" * (first - 1) + "if 1:\n" if indent else "\n" * first
    is_lambda = code.co_name == "<lambda>"
    attempts = 0
    for end in range(first + 1, len(lines) + 1):
        if not is_lambda and end < len(lines) and not _may_end_before(lines[end], indent):
            continue
        tree = _parsed(head + "".join(lines[first:end]))
        if tree is not None:
            yield tree, _names_imported_in_lines(lines)
            break
        attempts += 1
        if attempts == _ATTEMPTS:
            break
    tree = _parsed("".join(lines))
    if tree is not None:
        yield tree, _names_imported(tree)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _may_end_before(line: str, indent: int) -> bool:
    """Whether an indented block may end before this line."""
    text = line.lstrip()
    return bool(text) and not text.startswith("#") and _indent(line) <= indent


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _names_imported_in_lines(lines: list[str]) -> list[str]:
    """What `_names_imported` finds, without parsing the whole file; strings may mislead it."""
    names: list[str] = []
    at_module_level = True
    for i, line in enumerate(lines):
        if not line[:1].isspace():
            at_module_level = not line.startswith(("def ", "class ", "async ", "@"))
        if not at_module_level or "import " not in line:
            continue
        if line.lstrip().startswith(("import ", "from ")):
            several = "(" in line or line.endswith("\\\n")
            last = min(i + _LONGEST_IMPORT if several else i + 1, len(lines))
            texts = ("".join(lines[i:end]).lstrip() for end in range(i + 1, last + 1))
            tree = next(filter(None, map(_parsed, texts)), None)
            names.extend(_names_imported(tree) if tree else ())
    return names


def _names_imported(module: ast.Module) -> list[str]:
    """The names that a module imports itself, not in its functions and classes."""
    names: list[str] = []
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.extend(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif not isinstance(node, Function | ast.ClassDef | ast.expr):
            waiting.extend(ast.iter_child_nodes(node))
    return names


def _candidates(tree: ast.Module, code: CodeType) -> Iterator[FunctionNode]:
    """The nodes of a tree that stand on the line of `code` and have its name."""
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.Lambda):
            if code.co_name == "<lambda>" and node.lineno == code.co_firstlineno:
                yield node
        elif isinstance(node, Function) and node.name == code.co_name:
            first = node.decorator_list[0] if node.decorator_list else node
            if first.lineno == code.co_firstlineno:
                yield node


def _strip(node: FunctionNode) -> None:
    """Take away what the function's definition evaluates: the function object has it already."""
    args = node.args
    args.defaults = []
    args.kw_defaults = [None] * len(args.kwonlyargs)
    if isinstance(node, ast.Lambda):
        return
    node.decorator_list = []
    node.returns = None
    if hasattr(node, "type_params"):
        node.type_params = []
    for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
        if arg is not None:
            arg.annotation = None


def class_of(code: CodeType) -> str | None:
    """The innermost class around a function: private names are mangled with it."""
    parts = code.co_qualname.split(".")
    for name, following in zip(reversed(parts[:-1]), reversed(parts[1:])):
        if following != "<locals>" and name.isidentifier():
            return name
    return None


def compiled(
    node: FunctionNode, code: CodeType, outer: str = "", imported: Sequence[str] = ()
) -> CodeType:
    """The code of `node` where `code` stands: same file, class and free variables.

    Args:
        outer: one more name that is a free variable of it.
        imported: the names that its module imports.
    """
    at = spot(node)
    content: ast.stmt = ast.Expr(node, **position(at)) if isinstance(node, ast.Lambda) else node
    class_name = class_of(code)
    if class_name is not None:
        content = definition(ast.ClassDef, class_name, [content], at, bases=[], keywords=[])
    free = [outer] if outer else []
    free += [name for name in code.co_freevars if class_name is None or name != "__class__"]
    body = [content]
    if isinstance(content, ast.ClassDef | Function) and content.name not in free:
        # What is inside refers to it as a global, as it did where it stood.
        body.insert(0, ast.Global([content.name], **position(at)))
    args = arguments(free, at)
    factory = definition(ast.FunctionDef, "__factory__", body, at, args=args, returns=None)
    module = ast.Module([factory], [])
    if imported:
        names = [ast.alias(name, None, **position(at)) for name in imported]
        module.body.append(ast.Import(names, **position(at)))
    flags = code.co_flags & __future__.annotations.compiler_flag
    made: CodeType = compile(module, code.co_filename, "exec", flags, dont_inherit=True)
    for _ in range(2 if class_name is None else 3):
        made = next(const for const in made.co_consts if isinstance(const, CodeType))
    return made


def is_class_body(code: CodeType) -> bool:
    """Whether code is the body of a class: among its constants is its own qualified name."""
    return not code.co_flags & _CO_OPTIMIZED


def _matches(found: CodeType, code: CodeType) -> bool:
    """Whether the code found is the code given."""
    if _has_rewritten_asserts(code):
        return _parameters(found) == _parameters(code)
    if code.co_name == "<lambda>" and [*found.co_positions()] != [*code.co_positions()]:
        return False
    return _same_code(found, code)


def _has_rewritten_asserts(code: CodeType) -> bool:
    """Whether pytest has rewritten the assertions: by names that no source can hold."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return any(name.startswith("@") for name in code.co_names) or any(
        map(_has_rewritten_asserts, inner)
    )


def _parameters(code: CodeType) -> tuple[object, ...]:
    count = code.co_argcount + code.co_kwonlyargcount
    return code.co_argcount, code.co_posonlyargcount, code.co_varnames[:count]


def _same_code(a: CodeType, b: CodeType) -> bool:
    return (
        a.co_code == b.co_code
        and a.co_names == b.co_names
        and a.co_varnames == b.co_varnames
        and a.co_freevars == b.co_freevars
        and a.co_cellvars == b.co_cellvars
        and len(a.co_consts) == len(b.co_consts)
        and all(_same_constant(x, y, a, b) for x, y in zip(a.co_consts, b.co_consts))
    )


def _same_constant(x: object, y: object, a: CodeType, b: CodeType) -> bool:
    """Whether constants of the codes `a` and `b` are the same."""
    if isinstance(x, CodeType) and isinstance(y, CodeType):
        return _same_code(x, y)
    if is_class_body(a) and is_class_body(b) and x == a.co_qualname and y == b.co_qualname:
        return True
    # repr tells 0.0 from -0.0 and 1 from True, but gives no order to the elements of a set
    return repr(x) == repr(y) or (isinstance(x, frozenset) and type(y) is frozenset and x == y)
