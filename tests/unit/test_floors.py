"""A module imports its own floor or a lower one (ARCHITECTURE.md)."""

import ast
from pathlib import Path

import impasto

FLOORS = {
    0: {"errors"},
    1: {"contract", "params"},
    2: {"registry", "architectures", "assets", "library", "device", "images", "knobs", "meter", "trained", "videos"},
    3: {
        "encoders",
        "winograd",
        "decoders",
        "networks",
        "stats",
        "losses",
        "matching",
        "objectives",
        "descent",
        "lbfgs",
        "bilateral",
        "color",
        "masks",
        "tiling",
        "fitting",
        "graphs",
        "coded",
        "predictors",
        "flow",
        "segment",
        "steady",
    },
    4: {"methods"},
    5: {
        "budget",
        "recipes",
        "snapshots",
        "controls",
        "layout",
        "tracking",
        "metrics",
        "bench",
        "people",
        "report",
        "data",
        "train",
        "export",
    },
    6: {"engine", "job", "request", "frames", "video", "live", "light"},
    7: {"__init__", "__main__", "api", "cli"},
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules}
ROOT = Path(impasto.__file__).parent
# Floor 7 stylises through the engine; of floors 2 to 4 it may only read the public listings.
LISTINGS = {"registry", "knobs", "trained", "assets", "library", "images", "videos", "device"}


def imports():
    for path in sorted(ROOT.rglob("*.py")):
        module = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "impasto":
                rest = node.module.partition(".")[2]
                names = [rest] if rest else [alias.name for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("impasto.")]
            for name in names:
                yield path.relative_to(ROOT), node.lineno, module, name


def test_every_module_has_a_floor():
    modules = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules - {"__pycache__", "py.typed"} <= set(FLOOR_OF)


def test_imports_go_down():
    broken = []
    for path, line, module, name in imports():
        target = name.partition(".")[0]
        if target == module:
            continue
        if FLOOR_OF[target] > FLOOR_OF[module]:
            broken.append(f"{path}:{line} imports {name}, which is on a higher floor")
        if FLOOR_OF[module] == 7 and FLOOR_OF[target] in (2, 3, 4) and target not in LISTINGS:
            broken.append(f"{path}:{line} imports {name}: floor 7 goes through the engine")
    assert not broken, "\n".join(broken)


def test_no_method_imports_another():
    broken = [
        f"{path}:{line} imports {name}"
        for path, line, module, name in imports()
        if module == "methods" and name.startswith("methods.")
    ]
    assert not broken, "\n".join(broken)


def test_only_floor_7_prints_or_exits():
    broken = []
    for path in sorted(ROOT.rglob("*.py")):
        module = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name in ("print", "exit") and FLOOR_OF[module] != 7:
                broken.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {name}")
    assert not broken, "\n".join(broken)
