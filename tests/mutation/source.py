"""The rules as syntax trees: where their conditions are, and every small change that can be made to them.

Only functions under `@rule` or `@entry` are looked at. The rules must run interpreted (NUMBA_DISABLE_JIT=1), so that a
changed tree can take the place of the function it came from.
"""

from __future__ import annotations

import ast
import copy
import importlib
import pkgutil
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from solidarite_server import engine

Seen = Callable[[int, object], object]


@dataclass(frozen=True)
class Function:
    """One rule: the module that holds it and its tree."""

    module: types.ModuleType
    tree: ast.FunctionDef


@dataclass(frozen=True)
class Mutant:
    """One change: `apply` returns the changed function."""

    function: Function
    line: int
    statement: int
    """Number of the statement that holds the change, as `watch_statements` tells it."""
    name: str
    """The rule, the statement, the change: the same whatever is written elsewhere."""
    node: int
    choice: int

    def apply(self) -> ast.FunctionDef:
        tree = copy.deepcopy(self.function.tree)
        for place, node in enumerate(_nodes(tree)):
            if place == self.node:
                _changes(node)[self.choice][1]()
                return tree
        raise AssertionError(self.name)

    def __str__(self) -> str:
        return f"line {self.line}, {self.name}"


def functions() -> list[Function]:
    """Every rule of the engine."""
    found = []
    for info in pkgutil.iter_modules(engine.__path__, f"{engine.__name__}."):
        module = importlib.import_module(info.name)
        assert module.__file__ is not None
        with open(module.__file__, encoding="utf-8") as source:
            tree = ast.parse(source.read())
        found += [Function(module, node) for node in tree.body if isinstance(node, ast.FunctionDef) and _is_rule(node)]
    return found


def mutants() -> Iterator[Mutant]:
    """Every change of every rule."""
    first = 0
    for function in functions():
        statements = _statements(function.tree)
        place_of = {id(node): place for place, statement in enumerate(statements) for node in _own(statement)}
        told: Counter[str] = Counter()
        for place, node in enumerate(_nodes(function.tree)):
            for choice, (text, _) in enumerate(_changes(node)):
                number = place_of[id(node)]
                name = f"{function.tree.name}: {_head(statements[number])}: {text}"
                told[name] += 1
                name += f" ({told[name]})" if told[name] > 1 else ""
                line = getattr(node, "lineno", statements[number].lineno)
                yield Mutant(function, line, first + number, name, place, choice)
        first += len(statements)


def watch_statements(seen: Callable[[int], None]) -> int:
    """Make every statement of the rules tell `seen` its number before it runs; returns how many there are."""
    first = 0
    for function in functions():
        function.module.__dict__["_seen"] = seen
        tree = copy.deepcopy(function.tree)
        statements = _statements(tree)
        numbers = {id(statement): first + place for place, statement in enumerate(statements)}
        for owner in ast.walk(tree):
            for name in ("body", "orelse"):
                block = getattr(owner, name, None)
                if isinstance(block, list):
                    setattr(owner, name, [told for s in block for told in (*_telling(numbers.get(id(s))), s)])
        install(function.module, tree)
        first += len(statements)
    return first


def restore() -> None:
    """Put every rule back as it is written."""
    for function in functions():
        install(function.module, function.tree)


def install(module: types.ModuleType, tree: ast.FunctionDef) -> None:
    """Put a tree in the place of the function of that name, wherever the engine uses it."""
    bare = copy.deepcopy(tree)
    bare.decorator_list = []
    program = ast.fix_missing_locations(ast.Module([bare], []))
    old = module.__dict__[tree.name]
    exec(compile(program, str(module.__file__), "exec"), module.__dict__)
    new = module.__dict__[tree.name]
    for info in pkgutil.iter_modules(engine.__path__, f"{engine.__name__}."):
        other = importlib.import_module(info.name)
        for name, value in list(vars(other).items()):
            if value is old:
                setattr(other, name, new)


def watch_conditions(seen: Seen) -> dict[int, str]:
    """Make every condition of the rules tell `seen` its number and its outcome; returns where each one stands."""
    places: dict[int, str] = {}
    for function in functions():
        function.module.__dict__["_seen"] = seen
        tree = _Watched(places, function).visit(copy.deepcopy(function.tree))
        install(function.module, tree)
    return places


class _Watched(ast.NodeTransformer):
    def __init__(self, places: dict[int, str], function: Function) -> None:
        self._places, self._function = places, function

    def _told(self, test: ast.expr) -> ast.expr:
        number = len(self._places)
        self._places[number] = f"{self._function.tree.name}, line {test.lineno}: {ast.unparse(test)}"
        call = ast.Call(ast.Name("_seen", ast.Load()), [ast.Constant(number), test], [])
        return ast.copy_location(call, test)

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        node.test = self._told(node.test)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        node.test = self._told(node.test)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        node.values = [self._told(value) for value in node.values]
        return node


def _is_rule(node: ast.FunctionDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id in ("rule", "entry") for mark in node.decorator_list)


def _body(tree: ast.FunctionDef) -> list[ast.stmt]:
    return tree.body[1:] if ast.get_docstring(tree) else tree.body


def _nodes(tree: ast.FunctionDef) -> list[ast.AST]:
    """Every node of the body but the docstring, always in the same order."""
    return [node for statement in _body(tree) for node in ast.walk(statement)]


def _statements(tree: ast.FunctionDef) -> list[ast.stmt]:
    """Every statement of the body but the docstring, always in the same order."""
    return [node for node in _nodes(tree) if isinstance(node, ast.stmt)]


def _own(statement: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement that belong to no statement within it."""
    yield statement
    for node in ast.iter_child_nodes(statement):
        if not isinstance(node, ast.stmt):
            yield from _own(node)


def _head(statement: ast.stmt) -> str:
    return ast.unparse(statement).partition("\n")[0]


def _telling(number: int | None) -> list[ast.stmt]:
    return [] if number is None else [ast.Expr(ast.Call(ast.Name("_seen", ast.Load()), [ast.Constant(number)], []))]


_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.Is: ast.IsNot,
}
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.RShift: ast.LShift,
}


def _changes(node: ast.AST) -> list[tuple[str, Callable[[], None]]]:
    """What can be changed in a node, and how to change it in place."""
    found: list[tuple[str, Callable[[], None]]] = []

    def offer(text: str, name: str, value: object) -> None:
        found.append((text, lambda: setattr(node, name, value)))

    if isinstance(node, ast.Compare):
        for rank, kind in enumerate(map(type, node.ops)):
            other = _COMPARISONS[kind]
            swapped = [other() if place == rank else op for place, op in enumerate(node.ops)]
            offer(f"{ast.unparse(node)}: {kind.__name__} -> {other.__name__}", "ops", swapped)
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATIONS:
        operation = _OPERATIONS[type(node.op)]
        offer(f"{ast.unparse(node)}: {type(node.op).__name__} -> {operation.__name__}", "op", operation())
    elif isinstance(node, ast.BoolOp):
        swap = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        offer(f"{ast.unparse(node)}: {type(node.op).__name__} -> {type(swap).__name__}", "op", swap)
    elif isinstance(node, (ast.If, ast.IfExp)):
        negated = ast.UnaryOp(ast.Not(), node.test)
        offer(f"if {ast.unparse(node.test)}: negated", "test", negated)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        offer(f"{ast.unparse(node)}: sign dropped", "op", ast.UAdd())
    elif isinstance(node, ast.Constant) and not isinstance(node.value, str) and node.value is not None:
        value = node.value
        offer(f"{value!r} -> {not value if isinstance(value, bool) else value + 1!r}", "value", _next(value))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        other_name = "max" if node.func.id == "min" else "min"
        offer(f"{ast.unparse(node)}: {other_name}", "func", ast.Name(other_name, ast.Load()))
    elif isinstance(node, ast.Continue):
        found.append(("continue -> break", lambda: setattr(node, "__class__", ast.Break)))
    elif isinstance(node, ast.Break):
        found.append(("break -> continue", lambda: setattr(node, "__class__", ast.Continue)))
    return found


def _next(value: object) -> object:
    assert isinstance(value, (bool, int, float))
    return not value if isinstance(value, bool) else value + 1
