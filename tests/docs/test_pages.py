"""What the pages say is so: code in them runs, and prints what they show; what they name is there."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import blocks, commands, matches
from tensorboard_page import page_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
TYPED_BY_HAND = re.compile(
    r"pip install |tensorboard --logdir |thermo-callbacks (?:compare|report|check) |mkdocs (?:serve|build)|pytest\b"
    r"|ruff check |pip --python \S+ install "
    r"|python (?:docs/hooks|docs/images|tests/benchmarks/\w+|tests/without_lightning)\.py\b"
)


def run(command: str, folder: Path) -> list[str]:
    program, *arguments = command.split()
    start = [sys.executable] if program == "python" else [str(Path(sys.executable).with_name(program))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "COLUMNS": "100"}
    done = subprocess.run(
        [*start, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line.rstrip() for line in done.stdout.rstrip("\n").splitlines()]


def having(*languages: str, titled: bool | None = None) -> list[str]:
    return [
        name
        for name, page in PAGES.items()
        if any(block.language in languages and titled in {None, block.title is not None} for block in blocks(page))
    ]


def save_files(name: str, folder: Path) -> None:
    for block in blocks(PAGES[name]):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")


TRAINING = {"tutorial.md", "guides/activations.md"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in TRAINING else []) for name in having("console")]
)
def test_commands_print_what_the_page_shows(name: str, tmp_path: Path) -> None:
    save_files(name, tmp_path)
    for block in blocks(PAGES[name]):
        for command, promised in commands(block) if block.language == "console" else ():
            printed = run(command, tmp_path)
            assert matches(promised, printed), "\n".join([f"{command} printed:", *printed])
    if name == "tutorial.md":
        assert {"How hot is the run, and which layer is hottest?", "Is the run in equilibrium?"} <= {
            question["title"] for question in page_of(tmp_path / "lightning_logs")["category"]
        }


@pytest.mark.parametrize("name", having("python", titled=False))
def test_code_runs(name: str) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGES[name]):
        if block.language == "python" and not block.title:
            if block.text.startswith(">>>"):
                test = doctest.DocTestParser().get_doctest(block.text, names, name, name, 0)
                assert doctest.DocTestRunner().run(test).failed == 0
            else:
                exec(compile(block.text, name, "exec"), names)


@pytest.mark.parametrize("name", having("bash"))
def test_commands_that_are_only_shown_are_known(name: str) -> None:
    for block in blocks(PAGES[name]):
        if block.language == "bash":
            assert all(TYPED_BY_HAND.match(line) for line in block.text.splitlines())


def test_the_page_of_tabs_asks_the_questions_of_the_layout() -> None:
    from thermo_callbacks.catalog import QUANTITIES
    from thermo_callbacks.display import custom_scalar_layout

    tags = {tag for quantity in QUANTITIES for tag in (*quantity.tags, quantity.family_tag)}
    asked = re.findall(r"^\d+\. \*(.+?)\*", PAGES["page.md"], re.MULTILINE)
    assert asked == list(custom_scalar_layout(tags))


def test_tests_that_pages_name_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", "\n".join(PAGES.values()))
    assert len(named) > 30
    missing = [
        f"{path}::{function}"
        for path, function in named
        if not (ROOT / path).exists() or (function and f"def {function}(" not in (ROOT / path).read_text("utf-8"))
    ]
    assert missing == []
