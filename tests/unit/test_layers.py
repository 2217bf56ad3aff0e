"""What import-linter's contracts (pyproject.toml) do not hold: who may print, and how few modules lie at the top."""

import ast
from pathlib import Path

import impasto

ROOT = Path(impasto.__file__).parent
EDGES = {"cli", "serve", "__main__.py"}


def test_only_the_edges_print_or_exit():
    broken = []
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in EDGES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name in ("print", "exit"):
                broken.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {name}")
    assert not broken, "\n".join(broken)


def test_the_top_shows_packages_and_few_modules():
    assert len(list(ROOT.glob("*.py"))) <= 9
