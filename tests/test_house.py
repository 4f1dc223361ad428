"""What keeps the package readable: short modules and functions, and no state that belongs to nobody."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "distopt"
MODULES = {
    path.relative_to(PACKAGE.parent).as_posix(): path.read_text()
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULE_LINES, FUNCTION_LINES = 450, 70

Function = ast.FunctionDef | ast.AsyncFunctionDef
WRITING = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard",
    "clear", "sort", "reverse", "fill",
}  # fmt: skip


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def assigned(body: list[ast.stmt]) -> set[str]:
    """Return the names that the statements of a module give values to."""
    found = set()
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            found |= {name.id for name in names if isinstance(name, ast.Name)}
    return found


def written(function: Function) -> set[str]:
    """Return the names that a function writes through: x[...] = , x.append(...), global x."""
    own = {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
    outer, found = set(), []
    for node in ast.walk(function):
        match node:
            case ast.Global(names):
                outer |= set(names)
            case ast.Name(name, ast.Store()):
                own.add(name)
            case ast.Subscript(ast.Name(name), _, ast.Store() | ast.Del()):
                found.append(name)
            case ast.Call(ast.Attribute(ast.Name(name), method)) if method in WRITING:
                found.append(name)
            case ast.keyword("out", ast.Name(name)):
                found.append(name)
    return outer | set(found) - own


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_one_subject(name: str) -> None:
    lines = len(MODULES[name].splitlines())
    assert lines <= MODULE_LINES, f"{name} has {lines} lines; cut it where its subject changes"
    for function in functions(ast.parse(MODULES[name])):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= FUNCTION_LINES, f"{name}: {function.name} has {lines} lines"


@pytest.mark.parametrize("name", MODULES)
def test_no_function_writes_to_its_module(name: str) -> None:
    """State belongs to agents; what a module holds is the same for all runs and threads."""
    tree = ast.parse(MODULES[name])
    shared = assigned(tree.body)
    for function in functions(tree):
        touched = written(function) & shared
        assert not touched, f"{name}: {function.name} writes to {', '.join(sorted(touched))}"


def test_the_guards_notice() -> None:
    tree = ast.parse(
        "cache, x = {}, 0\ntable = []\n"
        "def f(k, own):\n    global x\n    x = cache[k]\n    table.append(k)\n    own[k] = 1\n"
    )
    assert assigned(tree.body) == {"cache", "x", "table"}
    assert written(functions(tree)[0]) == {"table", "x"}
    assert written(functions(ast.parse("def g(a):\n    g(a, out=work)\n"))[0]) == {"work"}


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them as top-level modules, so two of one name stop the collection of all."""
    names = [
        path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py"
    ]
    assert sorted(set(names)) == sorted(names)
