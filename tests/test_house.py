"""How the house is built: what the import contract and the linter do not see."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "thermo_callbacks"
FILES = sorted(PACKAGE.rglob("*.py"))
MIRRORED = ("callbacks", "catalog", "commands", "comparison", "display", "functional", "metrics", "probes")


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of each import from the package in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("thermo_callbacks"):
            for alias in node.names:
                yield node.module or "", alias.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_private_is_imported_from_another_package(path: Path) -> None:
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    private = [
        f"{module}.{name}"
        for module, name in imports_of(path)
        if any(part.startswith("_") and not part.startswith("__") for part in (*module.split("."), name))
        and module.rpartition(".")[0] != own
    ]
    assert private == []


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("package", MIRRORED)
def test_the_folders_of_the_tests_are_those_of_the_package(package: str) -> None:
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests" / package).rglob("test_*.py")}
    assert folders
    assert {folder for folder in folders if not (PACKAGE / folder).is_dir()} == set()


def test_files_are_of_a_size_that_can_be_read() -> None:
    longest = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in longest.items() if lines > 330} == {}
