"""Docstrings and formulas as the site shows them."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import griffe
import pytest

import thermo_callbacks
from thermo_callbacks.catalog import QUANTITIES

DOCS = Path(__file__).parents[2] / "docs"


def part(name: str) -> ModuleType:
    """A file of the site, which is no package."""
    specification = importlib.util.spec_from_file_location(f"site_{name}", DOCS / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    return part("docstrings")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return part("hooks")


@pytest.fixture(scope="module")
def package() -> Any:
    return griffe.load("thermo_callbacks", search_paths=[DOCS.parent], resolve_aliases=True)


@pytest.mark.parametrize(
    ("place", "role", "expected"),
    [
        # beside it in its file, with its whole path, by a private path, and a method of the class itself
        (
            "functional.window.temperature.virial_temperature",
            ":func:`kinetic_temperature`",
            "[`kinetic_temperature`][thermo_callbacks.functional.kinetic_temperature]",
        ),
        (
            "metrics.work.WorkEfficiency",
            ":func:`~thermo_callbacks.functional.work_efficiency`",
            "[`work_efficiency`][thermo_callbacks.functional.work_efficiency]",
        ),
        (
            "metrics.curvature.FreeEnergyLaplacian",
            ":func:`thermo_callbacks.functional.curvature.hessian_trace`",
            "[`thermo_callbacks.functional.curvature.hessian_trace`][thermo_callbacks.functional.hessian_trace]",
        ),
        (
            "callbacks.transition_monitor.TransitionTemperatureMonitor",
            ":meth:`latest`",
            "[`latest`][thermo_callbacks.TransitionTemperatureMonitor.latest]",
        ),
        # a function that a file of the same name hides
        (
            "metrics.entropy.ParameterEntropy",
            ":func:`parameter_entropy`",
            "[`parameter_entropy`][thermo_callbacks.functional.parameter_entropy]",
        ),
        # what the site does not show, inside and outside of the package
        ("metrics.curvature.FreeEnergyLaplacian", ":class:`TraceMetric`", "`TraceMetric`"),
        ("metrics.work.WorkEfficiency", ":class:`torchmetrics.Metric`", "`torchmetrics.Metric`"),
        # what does not exist
        ("metrics.work.WorkEfficiency", ":func:`~thermo_callbacks.gone`", "[`gone`][thermo_callbacks.gone]"),
        ("metrics.work.WorkEfficiency", ":class:`torch.Gone`", "[`torch.Gone`][torch.Gone]"),
    ],
)
def test_roles(docstrings: ModuleType, package: Any, place: str, role: str, expected: str) -> None:
    docstrings.show_functions(package)
    assert docstrings.markdown(f"See {role}.", package[place], docstrings.Links(package)) == f"See {expected}."


def test_formulas_and_examples(docstrings: ModuleType, package: Any) -> None:
    text = """\
    Sum of :math:`q_i`.

    .. math:: S = \\sum_i
        q_i

    .. math::

        T = 1,
        \\qquad U

    Example:
        >>> 1
        1

    Example::

        trainer.fit(module)
"""
    assert (
        docstrings.markdown(text, package, docstrings.Links(package))
        == """\
    Sum of \\(q_i\\).

    \\[S = \\sum_i q_i\\]

    \\[T = 1, \\qquad U\\]

    Examples:
        >>> 1
        1

    Examples:
        ```python
        trainer.fit(module)
        ```
"""
    )


@pytest.mark.parametrize(
    ("formula", "wanted"),
    [
        ("|D|^2", "<msup><mrow><mo"),  # the power of the bars, not of the second one
        (r"\mathrm{E} g", "<mtext>E</mtext>"),
        ("f'w", "<mi>f</mi><mo lspace"),
        (r"\big\langle x \big\rangle", "&#x027E8;"),
    ],
)
def test_what_the_converter_gets_wrong(hooks: ModuleType, formula: str, wanted: str) -> None:
    found = hooks.mathml(formula)
    assert found.startswith("<math ")
    assert wanted in found
    assert "\\" not in found


def test_formulas_are_found_in_a_page(hooks: ModuleType) -> None:
    page = '<p>a <span class="arithmatex">\\(x &lt; 1\\)</span></p><div class="arithmatex">\\[\nx\n\\]</div>'
    shown = hooks.on_page_content(page)
    assert shown.count("<math ") == 2
    assert shown.startswith("<p>a <math ")
    assert 'display="block"' in shown
    assert "arithmatex" not in shown


def test_copies_in_the_repository_are_what_the_package_says(hooks: ModuleType) -> None:
    pages = [path.read_text(encoding="utf-8") for path in (hooks.ROOT / "docs").rglob("*.md")]
    assert sum("<!-- /" in page for page in pages) >= 1
    assert [page[:80] for page in pages if hooks.with_copies(page) != page] == [], "renew them: python docs/hooks.py"


def test_a_copy_is_renewed_and_stands_once_on_the_site(hooks: ModuleType) -> None:
    stale = "# Page\n\n<!-- symbols -->\n\nold\n\n<!-- /symbols -->\n\nrest"
    fresh = hooks.with_copies(stale)
    assert "old" not in fresh
    assert fresh.count(hooks.symbols()) == 1
    assert hooks.with_copies(fresh) == fresh
    assert hooks.on_page_markdown(stale) == f"# Page\n\n{hooks.symbols()}\n\nrest"
    assert hooks.with_copies("<!-- symbols -->") == "<!-- symbols -->"  # a page of the site alone


def test_an_unknown_marker_is_an_error(hooks: ModuleType) -> None:
    assert hooks.on_page_markdown("<!-- a remark of many words -->") == "<!-- a remark of many words -->"
    with pytest.raises(KeyError, match="quantites"):
        hooks.on_page_markdown("<!-- quantites -->")


def test_formulas_of_a_page_are_those_of_the_functions(hooks: ModuleType) -> None:
    page = hooks.with_copies("<!-- formula: heat -->\n\nold\n\n<!-- /formula: heat -->")
    assert page == "<!-- formula: heat -->\n\n$$Q = \\sum_t g_t \\cdot D_t$$\n\n<!-- /formula: heat -->"
    assert hooks.on_page_markdown(page) == "$$Q = \\sum_t g_t \\cdot D_t$$"
    named = re.findall("<!-- formula: (.+) -->", (hooks.ROOT / "docs" / "theory.md").read_text("utf-8"))
    assert {"einstein_temperature", "parameter_entropy", "entropy_destruction"} <= set(named)


def test_docstrings_list_what_the_catalogue_says_is_logged(hooks: ModuleType, package: Any) -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in hooks.LISTING}
    stale = [name for name, source in sources.items() if hooks.with_logged_values(source) != source]
    assert stale == [], "renew them: python docs/hooks.py"
    for monitor, name in (("ThermoMonitor", "standard"), ("BulkMonitor", "BulkMonitor")):
        shown = inspect.getdoc(getattr(thermo_callbacks, monitor)) or ""
        assert package[monitor].docstring.value == shown  # what the site and editors read, without running it
        rows = [row for row in QUANTITIES if name in row.logged_by]
        assert len(rows) > 5
        assert [row.name for row in rows if f"``{row.tag or row.family_tag}``" not in shown] == []
        assert [row.name for row in rows if row.summary not in " ".join(shown.split())] == []


def test_a_list_in_a_docstring_is_renewed(hooks: ModuleType) -> None:
    before = 'class BulkMonitor(X):\n    """About.\n\n    **Logged values**, all:\n\n'
    after = '    A value that does not exist is NaN.\n    """\n\n\nclass Y(X):\n    """Text."""\n'
    fresh = hooks.with_logged_values(before + "    - ``old``\n\n" + after)
    assert fresh.startswith(before + "    At each extra pass:\n\n    - ``thermo/laplacian``")
    assert fresh.endswith(after)
    assert "old" not in fresh
    assert hooks.with_logged_values(fresh) == fresh
