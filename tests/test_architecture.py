"""The ladder that docs/architecture.md draws: no import goes up, in a circle, or behind a door."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT

HOUSE, TESTS = ROOT / "converter", ROOT / "tests"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
DRAWING = PAGE.split("```")[1]
# A line of the drawing is a step; what stands higher has a larger number.
LINES = [re.findall(r"^(?:\w+(?:\.py|/) *)+", line) for line in DRAWING.splitlines()[::-1]]
STEPS = [re.findall(r"\w+", line[0].replace(".py", "")) for line in LINES if line]
STEP = {name: number for number, names in enumerate(STEPS) for name in names}
FILES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in HOUSE.rglob("*.py")
    if path not in (HOUSE / "__init__.py", HOUSE / "__main__.py")  # they stand above all others
}
MODULES = {module for module, path in FILES.items() if path.name != "__init__.py"}


def package_of(module: str) -> list[str]:
    """Give the package that the relative imports of a module start from."""
    parts = module.split(".")
    return parts[:-1] if module in MODULES else parts


def imports(path: Path, package: list[str]) -> Iterator[str]:
    """Give the modules and packages of converter/ that a file imports, late ones as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = node.module.split(".") if node.module else []
            if node.level:
                names = package[: len(package) - node.level + 1] + names
            elif names.pop(0) != "vitconvert":
                continue
            for alias in node.names:
                found = ".".join([*names, alias.name])
                yield found if found in FILES else ".".join(names)


IMPORTS = {m: set(imports(path, package_of(m))) & set(FILES) for m, path in FILES.items()}


def test_the_drawing_has_every_module() -> None:
    """What lies in converter/ is on the ladder, and nothing else is."""
    assert set(STEP) == {module.split(".")[0] for module in FILES}


def test_the_page_names_files_that_exist() -> None:
    """Those that answer where something happens, and all others."""
    named = re.findall(r"`([\w/]+\.(?:py|toml))`", PAGE)

    assert len(named) > 10
    assert [n for n in named if not ((HOUSE / n).exists() or (ROOT / n).exists())] == []


def test_no_import_goes_up() -> None:
    """A module knows its own step and those below."""
    step = {module: STEP[module.split(".")[0]] for module in FILES}

    assert [(m, n) for m, names in IMPORTS.items() for n in names if step[n] > step[m]] == []


def test_no_imports_go_in_a_circle() -> None:
    """Neither those of modules nor those of folders."""
    folders: dict[str, set[str]] = {}
    for module, names in IMPORTS.items():
        room = ".".join(package_of(module)) or module
        others = {".".join(package_of(name)) or name for name in names}
        folders.setdefault(room, set()).update(others - {room})

    TopologicalSorter({m: IMPORTS[m] & MODULES for m in MODULES}).prepare()
    TopologicalSorter(folders).prepare()


# Tests of one rule for the files and texts of every room.
EVERY_ROOM = ("small_trace.py", "test_own_files.py", "test_planted.py")


def test_an_underscore_is_the_business_of_its_folder() -> None:
    """A private module is imported by its own folder, and by the tests of that folder."""
    tests = {path: list(path.relative_to(TESTS).parent.parts) for path in TESTS.rglob("*.py")}
    tests = {path: home for path, home in tests.items() if path.name not in EVERY_ROOM}
    homes = {path: package_of(module) for module, path in FILES.items()} | tests
    foreign = [
        (str(path), name)
        for path, home in homes.items()
        for name in set(imports(path, home)) & set(FILES)
        if (door := re.search(r"(?:^|\.)_", name)) and home != name[: door.start()].split(".")
    ]

    assert foreign == []
