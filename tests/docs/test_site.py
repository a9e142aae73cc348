"""The site builds without a warning, loads nothing from elsewhere, and explains all that there is."""

from __future__ import annotations

import html
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from thermo_callbacks.catalog import QUANTITIES

pytestmark = pytest.mark.slow  # it builds the whole site
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    status, said = build(ROOT / "mkdocs.yml", folder)
    assert status == 0, said
    return folder


def build(configuration: Path, folder: Path) -> tuple[int, str]:
    """Exit status and messages. Not with --quiet: it keeps warnings from being counted, and strict means nothing."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(configuration), "-d", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "warning"),
    [
        ("[gone](gone.md)", "link 'gone.md', but the target is not found"),
        ("![gone](images/gone.png)", "link 'images/gone.png', but the target is not found"),
        ("[here](#gone)", "no such anchor"),
        ("[x][thermo_callbacks.gone]", "Could not find cross-reference target 'thermo_callbacks.gone'"),
    ],
    ids=["page", "image", "anchor", "name"],
)
def test_what_leads_nowhere_fails_the_build(page: str, warning: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{page}\n", encoding="utf-8")
    configuration = tmp_path / "mkdocs.yml"
    configuration.write_text(f"INHERIT: {ROOT}/mkdocs.yml\nhooks: []\nnav: [index.md]\n", encoding="utf-8")
    status, said = build(configuration, tmp_path / "site")
    assert status == 1
    assert warning in said


def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def anchors(page: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', page))


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*\bhref="(?:https?:)?//')
    assert [name for name, page in pages(site).items() if loads.search(page)] == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    assert [style for style in styles if re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style)] == []


def test_formulas_are_mathml_and_no_markup_is_left_over(site: Path) -> None:
    text = pages(site)
    assert len(re.findall("<math ", text["theory.html"])) > 50
    assert len(re.findall("<math ", text["api/functional.html"])) > 50
    left = re.compile(
        r':(?:class|func|meth|attr|mod|data|math):|\.\. math::|class="arithmatex"|<!-- [a-z-]+ -->|\\frac'
    )
    formulas = re.findall(r"<math .*?</math>", "".join(text.values()), re.DOTALL)
    assert [formula for formula in formulas if "\\" in formula] == []
    prose = {name: re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL) for name, page in text.items()}
    assert {name: left.findall(page) for name, page in prose.items() if left.search(page)} == {}


def public_names(module: ModuleType) -> list[str]:
    """Functions and classes that a module exports, or defines where it has no list of them."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
    return [
        name for name in names if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name))
    ]


@pytest.mark.parametrize(
    ("module", "page"),
    [
        ("thermo_callbacks", "callbacks"),
        ("thermo_callbacks.comparison", "callbacks"),
        ("thermo_callbacks.functional", "functional"),
        ("thermo_callbacks.functional.linear", "linear"),
        ("thermo_callbacks.functional.topology", "topology"),
        ("thermo_callbacks.metrics", "metrics"),
        ("thermo_callbacks.display", "display"),
        ("thermo_callbacks.probes.activations", "probes"),
        ("thermo_callbacks.probes.bulk", "probes"),
        ("thermo_callbacks.probes.curvature", "probes"),
        ("thermo_callbacks.probes.replay", "probes"),
    ],
)
def test_all_public_names_have_a_place(site: Path, module: str, page: str) -> None:
    names = public_names(importlib.import_module(module))
    assert names
    found = {name.rpartition(".")[2] for name in anchors(pages(site)[f"api/{page}.html"])}
    assert [name for name in names if name not in found] == []


def test_links_between_docstrings_lead_somewhere(site: Path) -> None:
    text = pages(site)
    places = {name: anchors(page) for name, page in text.items()}
    broken = []
    for name, page in text.items():
        for path, anchor in re.findall(r'href="([^":#]*)#(thermo_callbacks[^"]*)"', page):
            target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if html.unescape(anchor) not in places[target]:
                broken.append((name, path, anchor))
    assert broken == []
    links = 'class="autorefs autorefs-internal"'
    assert text["api/functional.html"].count(links) > 20


def test_each_quantity_is_explained_with_all_its_tags(site: Path) -> None:
    source = pages(site)["quantities.html"]
    page, text = html.unescape(source), html.unescape(re.sub(r"<[^>]+>", "", source))
    for quantity in QUANTITIES:
        tags = [*quantity.tags, *filter(None, [quantity.family_tag])]
        assert [tag for tag in tags if f"<code>{tag}</code>" not in page] == []
        assert quantity.formula in text
        assert f">{quantity.name}<" in page
        assert quantity.action
        assert quantity.action != quantity.caution


def test_examples_and_changelog_are_those_of_the_repository(site: Path) -> None:
    text = pages(site)
    scripts = [path.name for path in (ROOT / "examples").glob("[0-9]*.py")]
    assert len(scripts) >= 7
    assert [name for name in scripts if name not in text["examples.html"]] == []
    assert "compare_activations" in text["changelog.html"]
