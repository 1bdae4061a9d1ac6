"""The ladder of docs/architecture.md: nobody imports upwards, nor another folder's business."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT

# From the bottom to the top; a step imports from itself and from the steps below it.
LADDER = (
    "checked errors files page sides terminal version",
    "checkpoints",
    "tables",
    "models images",
    "running",
    "parity",
    "conversion",
    "apps",
    "commands",
    "cli",
    "__init__ __main__",
)
STEP = {name: step for step, names in enumerate(LADDER) for name in names.split()}
HOUSE, TESTS = ROOT / "converter", ROOT / "tests"
FILES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in HOUSE.rglob("*.py")
}


def imports(path: Path, package: list[str]) -> Iterator[str]:
    """Give the modules of this package that a file imports."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = (node.module or "").split(".") if node.module else []
            if node.level:
                names = package[: len(package) - node.level + 1] + names
            elif names[:1] != ["vitconvert"]:
                continue
            else:
                names = names[1:]
            for alias in node.names:
                whole = ".".join([*names, alias.name])
                yield whole if whole in FILES else ".".join(names) or "__init__"


def package_of(module: str) -> list[str]:
    """Give the names of the package that relative imports of a module start from."""
    parts = [] if module == "__init__" else module.split(".")
    return parts if FILES[module].name == "__init__.py" else parts[:-1]


def test_no_import_goes_up() -> None:
    """A module knows its own step of the ladder and those below."""
    up = [
        f"{module} imports {name}"
        for module, path in FILES.items()
        for name in imports(path, package_of(module))
        if not name.startswith(("mappings", "models_"))
        and STEP[name.split(".")[0]] > STEP[module.split(".")[0]]
    ]

    assert up == []


def test_no_imports_go_in_a_circle() -> None:
    """Neither modules nor folders, not even late, in a function."""
    modules = {m for m, path in FILES.items() if path.name != "__init__.py"}
    graph = {m: modules.intersection(imports(FILES[m], package_of(m))) for m in modules}
    folders: dict[str, set[str]] = {}
    for module, path in FILES.items():
        room = ".".join(package_of(module))
        rooms = (
            n if n not in modules else n.rpartition(".")[0]
            for n in imports(path, package_of(module))
        )
        folders.setdefault(room, set()).update(other for other in rooms if other != room)
    del folders[""]

    TopologicalSorter(graph).prepare()
    TopologicalSorter(folders).prepare()


def test_an_underscore_is_the_business_of_its_folder() -> None:
    """A private module is imported by its own folder, and by the tests of that folder."""
    seen = [(package_of(m), m, path) for m, path in FILES.items()]
    seen += [
        (list(path.relative_to(TESTS).parent.parts), f"tests.{path.stem}", path)
        for path in TESTS.rglob("*.py")
    ]
    foreign = [
        f"{name} imports {module}"
        for package, name, path in seen
        for module in imports(path, package)
        for place, part in enumerate(module.split("."))
        if part.startswith("_") and part != "__init__" and module in FILES
        if package[:place] != module.split(".")[:place]
    ]

    assert foreign == []
