"""The layout of the package: imports go one way, without circles, and no name occurs twice."""

import ast
from collections import Counter
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"

# Every entry may import from those below it, and from its own package.
LAYERS = (
    "cli",
    "api",
    "fewshot",
    "compare",
    "reports",
    "saved_model",
    "runs",
    "diagnosis",
    "mlm",
    "model_card",
    "training",
    "meta",
    "sampling",
    "evaluation",
    "model",
    "adapters",
    "encoders",
    "data",
    "config",
    "records",
    "autodiff",
    "optim",
    "seeding",
    "hardware",
    "hub",
    "work_dir",
    "parse",
    "files",
    "errors",
    "printable",
)


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(SRC).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(SRC.glob("metaxcr/**/*.py"))}


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, at any depth and for type checking, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("metaxcr."):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in full}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
    return found - {module_of(path)}


IMPORTS = {name: imports_of(path) for name, path in MODULES.items()}


def layer(module: str) -> int | None:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] != "__main__" else None


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[1] for name in MODULES if "." in name} - {"__main__"} <= set(LAYERS)


def test_imports_go_down() -> None:
    up = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if (here := layer(name)) is not None and (there := layer(other)) is not None and there < here
    ]
    assert not up


def test_there_is_no_circle() -> None:
    rest = {name: set(others) for name, others in IMPORTS.items()}
    while leaves := [name for name, others in rest.items() if not others & rest.keys()]:
        for name in leaves:
            del rest[name]
    assert not rest, f"circles among {sorted(rest)}"


def test_no_file_name_occurs_twice() -> None:
    names = Counter(path.name for path in MODULES.values())
    assert [name for name, n in names.items() if n > 1] == ["__init__.py"]


def test_no_class_name_occurs_twice() -> None:
    names = Counter(
        node.name
        for path in MODULES.values()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, n in names.items() if n > 1] == []
