"""What the site's pages are filled with when it is built: quantities, examples, changelog, formulas.

A line ``<!-- quantities -->`` and its like in a page is replaced by what the package itself says, so that no table is
kept by hand; ``<!-- formula: heat -->`` is the formula in the docstring of ``functional.heat``. A page that is to be
read in the repository, too, keeps a copy of it, up to a line ``<!-- /quantities -->``: ``python docs/hooks.py`` renews
the copies. Formulas are turned into MathML, which browsers draw by themselves: no script, no font from elsewhere.
"""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from latex2mathml import converter
from markdown.extensions.toc import slugify

from thermo_callbacks import catalog, functional
from thermo_callbacks.catalog import QUANTITIES, Quantity
from thermo_callbacks.display.tensorboard.legend import legend
from thermo_callbacks.findings import CAUSES, Cause

ROOT = Path(__file__).parent.parent
MARKER = re.compile(
    r"^<!-- (?P<marker>(?P<what>[a-z-]+)(?:: (?P<of>\w+))?) -->$(?P<copy>.*?^<!-- /(?P=marker) -->$)?",
    re.MULTILINE | re.DOTALL,
)
FORMULA = re.compile(
    r'<span class="arithmatex">\\\((?P<inline>.*?)\\\)</span>'
    r'|<div class="arithmatex">\s*\\\[(?P<block>.*?)\\\]\s*</div>',
    re.DOTALL,
)


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Called by mkdocs with the text of a page.

    Args:
        markdown: The page.
        **kwargs: What mkdocs says about it.

    Returns:
        The page with each marker replaced.
    """
    return MARKER.sub(_filling, markdown)


def _filling(match: re.Match[str]) -> str:
    return FILLINGS[match["what"]](*filter(None, [match["of"]]))


def with_copies(markdown: str) -> str:
    """A page as it is to stand in the repository.

    Args:
        markdown: The page.

    Returns:
        The page with its copies renewed.
    """

    def renewed(match: re.Match[str]) -> str:
        if match["copy"] is None:
            return match[0]
        return f"<!-- {match['marker']} -->\n\n{_filling(match)}\n\n<!-- /{match['marker']} -->"

    return MARKER.sub(renewed, markdown)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Called by mkdocs with the rendered text of a page.

    Args:
        html: The page, without the theme around it.
        **kwargs: What mkdocs says about it.

    Returns:
        The page with its formulas in MathML.
    """
    return FORMULA.sub(_mathml, html)


def _mathml(match: re.Match[str]) -> str:
    display = "inline" if match["inline"] is not None else "block"
    return mathml(html.unescape(match[display]), display)


def mathml(formula: str, display: str = "inline") -> str:
    """A formula in MathML.

    Args:
        formula: The formula, in TeX.
        display: ``"inline"`` or ``"block"``.

    Returns:
        The element.
    """
    formula = " ".join(formula.split())
    for pattern, replacement in TEX:
        formula = pattern.sub(replacement, formula)
    found: str = converter.convert(formula, display=display)
    for pattern, replacement in MATHML:
        found = pattern.sub(replacement, found)
    return found


TEX = (
    (re.compile(r"\\qquad"), r"\\quad"),  # a column of text is narrower than TeX's page
    (re.compile(r"(\|[^|]+\|)(?=\^)"), r"{\1}"),  # a power is that of what the bars hold, not of the bar
    # what the converter does not know: single upright letters, brackets of a chosen size
    (re.compile(r"\\mathrm\{(\w)\}"), r"\\text{\1}"),
    (re.compile(r"\\[bB]igg?[lr]?\s*(\\[lr](?:angle|floor|ceil))"), r"\1"),
)
MATHML = (
    (re.compile(r"\\_"), "_"),  # in names of arguments
    (re.compile(r'<mo stretchy="false">(?=&#x0007C;)'), '<mo stretchy="false" lspace="0" rspace="0">'),
    # a prime is raised by itself
    (
        re.compile(r"<msup>(<mi>[^<]+</mi>)<mi>&#x02032;</mi></msup>"),
        r'<mrow>\1<mo lspace="0" rspace="0">&#x02032;</mo></mrow>',
    ),
)


def groups() -> dict[str, list[Quantity]]:
    """The quantities by what they are about.

    Returns:
        Heading to the quantities under it, both in the order of the legend.
    """
    modules = [importlib.import_module(f"{catalog.__name__}.{found.name}") for found in _parts(catalog)]
    home = {quantity.name: module for module in modules for quantity in getattr(module, "QUANTITIES", ())}
    found: dict[str, list[Quantity]] = {}
    for quantity in QUANTITIES:
        found.setdefault(_heading(home[quantity.name]), []).append(quantity)
    return found


def _parts(package: ModuleType) -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(package.__path__))


def _heading(module: ModuleType) -> str:
    words = (module.__doc__ or "").partition("\n")[0].partition(":")[0].removeprefix("Quantities of ").rstrip(".")
    return words[:1].upper() + words[1:]


def quantity_overview() -> str:
    """All quantities in one table, each a link to what is said of it.

    Returns:
        Markdown.
    """
    rows = ["| Quantity | Logged as | Unit |", "|---|---|---|"]
    for quantity in QUANTITIES:
        tags = _code(filter(None, [quantity.tag, quantity.family_tag]))
        rows.append(f"| [{quantity.name}](#{anchor(quantity)}) | {tags} | {quantity.unit} |")
    return "\n".join(rows)


def quantity_pages() -> str:
    """What is said of each quantity.

    Returns:
        Markdown, one heading a group and one below it a quantity.
    """
    parts = []
    for heading, members in groups().items():
        parts += [f"## {heading}", *map(_quantity, members)]
    return "\n\n".join(parts)


def _quantity(quantity: Quantity) -> str:
    why = f"**What NaN means.** {quantity.missing[:1].upper()}{quantity.missing[1:]}."
    parts = [
        f"### {quantity.name}",
        f"> {quantity.formula}",
        quantity.meaning,
        f"**When not to believe it.** {quantity.caution}",
        why if quantity.missing else "",
        f"**What to do.** {quantity.action}",
        f"Unit: {quantity.unit}. Logged as {_code(quantity.all_tags)}, {WHEN[quantity.when]}, by "
        f"{_who(quantity.logged_by)}{_who_else(quantity)}.",
    ]
    return "\n\n".join(filter(None, parts))


WHEN: dict[str, str] = {
    "window": "once a window",
    "average": "at each extra pass, as a ratio of sums over all of them",
    "extra pass": "at each extra pass",
    "start": "when training starts",
    "validation": "at the end of each validation",
    "test": "at each test of equilibrium",
}


def _who_else(quantity: Quantity) -> str:
    """Who logs the family, where not all do that log the quantity."""
    loggers = quantity.family_logged_by
    if loggers is None:
        return ""
    return f"; {_code([quantity.family_tag])} by {_who(loggers)} only"


def _who(loggers: Sequence[str]) -> str:
    """Callbacks that log something: the presets in one, from the cheapest on."""
    presets = [name for name in ("light", "standard", "full") if name in loggers]
    others = [name for name in loggers if name not in presets]
    monitor = [f"`ThermoMonitor` ({_code(presets)})"] if presets else []
    return ", ".join([*monitor, *(f"`{name}`" for name in others)])


def _code(tags: Iterable[str]) -> str:
    return ", ".join(f"`{tag}`" for tag in tags)


def anchor(quantity: Quantity) -> str:
    """Where the page of quantities explains one.

    Args:
        quantity: The quantity.

    Returns:
        The part of the address after the hash.
    """
    return slugify(quantity.name, "-")


def symbols() -> str:
    """What the letters in the formulas mean, as the legend in TensorBoard says it.

    Returns:
        One paragraph.
    """
    text = legend({tag for quantity in QUANTITIES for tag in quantity.all_tags})
    (found,) = (part for part in text.split("\n\n") if part.startswith("Symbols:"))
    return found


def formula(function: str) -> str:
    """The definition of what a function computes, as its docstring gives it.

    Args:
        function: Name of the function in ``thermo_callbacks.functional``.

    Returns:
        Its first formula, displayed.
    """
    text = inspect.getdoc(getattr(functional, function)) or ""
    _, _, rest = text.partition(".. math::")
    return "$$" + " ".join(rest.partition("\n\n")[0].split()) + "$$"


def examples() -> str:
    """The example scripts, each with what it says of itself and its source.

    Returns:
        Markdown.
    """
    scripts = sorted(path for path in (ROOT / "examples").iterdir() if path.name[:1].isdigit())
    return "\n\n".join(_example(path) for path in scripts if path.suffix == ".py")


def _example(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    summary, _, rest = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
    body = source.split('"""', 2)[-1].strip("\n")
    code = "\n".join(f"    {line}".rstrip() for line in ["```python", *body.splitlines(), "```"])
    parts = [f"## {path.name}", summary, _prose(rest.strip("\n")), f'??? example "Source"\n\n{code}']
    return "\n\n".join(filter(None, parts))


def _prose(text: str) -> str:
    return text.replace("``", "`")


def changelog() -> str:
    """The changelog, without its title.

    Returns:
        Markdown.
    """
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]


def cause_overview() -> str:
    """All causes in one table, by what somebody notices.

    Returns:
        Markdown.
    """
    rows = ["| What you see | Cause |", "|---|---|"]
    rows += [f"| {cause.seen} | [{name}](#{slugify(name, '-')}) |" for name, cause in CAUSES.items()]
    return "\n".join(rows)


def cause_pages() -> str:
    """What is said of each cause.

    Returns:
        Markdown, one heading a cause.
    """
    return "\n\n".join(map(_cause, CAUSES.values()))


def _cause(cause: Cause) -> str:
    follows = f"**Whose signs it explains**, so that they are not told beside it: {', '.join(cause.explains)}."
    parts = [
        f"## {cause.name[:1].upper()}{cause.name[1:]}",
        f"**What you see.** {cause.seen}",
        cause.means,
        f"**What to do.** {cause.advice}",
        f"**How it is found.** {cause.sign}",
        f"**When that is wrong.** {cause.mistaken}",
        follows if cause.explains else "",
        f"Read from {_code(cause.reads)}." if cause.reads else "Read off the run itself, without an estimate.",
    ]
    return "\n\n".join(filter(None, parts))


FILLINGS: dict[str, Callable[..., str]] = {
    "quantity-overview": quantity_overview,
    "quantities": quantity_pages,
    "symbols": symbols,
    "cause-overview": cause_overview,
    "causes": cause_pages,
    "formula": formula,
    "examples": examples,
    "changelog": changelog,
}

LISTING = [ROOT / "thermo_callbacks" / "callbacks" / name for name in ("thermo_monitor.py", "narrow_monitors.py")]
"""Files with docstrings that list what a monitor logs."""
LOGGED_VALUES = re.compile(
    r"^class (?P<name>\w+)\((?P<before>(?:(?!^class ).)*?^    \*\*Logged values\*\*[^\n]*\n(?:    \S[^\n]*\n)*)"
    r"(?P<list>.*?)(?P<after>^    A value that does not exist is NaN)",
    re.MULTILINE | re.DOTALL,
)


def with_logged_values(source: str) -> str:
    """A file of callbacks whose docstrings list what they log, each list as the catalogue says it.

    They stand in the source, and are not put into ``__doc__`` when it runs, so that editors and this site show them.

    Args:
        source: The file.

    Returns:
        The file with its lists renewed.
    """

    def renewed(match: re.Match[str]) -> str:
        lines = logged_values(match["name"]).splitlines()
        text = "\n".join(f"    {line}".rstrip() for line in ["", *lines, "", ""])
        return f"class {match['name']}({match['before']}{text}{match['after']}"

    return LOGGED_VALUES.sub(renewed, source)


def logged_values(monitor: str) -> str:
    """What a monitor logs, for its docstring.

    Args:
        monitor: Its class; of ThermoMonitor all but what the preset full adds.

    Returns:
        Lists, one for each time at which values are taken.
    """
    presets = {"light": "", "standard": ', with the presets ``"standard"`` and ``"full"``'}
    known: set[str] = set()
    parts = []
    for name, remark in (presets if monitor == "ThermoMonitor" else {monitor: ""}).items():
        rows = [row for row in QUANTITIES if name in row.logged_by and row.name not in known]
        known |= {row.name for row in rows}
        for when, words in WHEN.items():
            entries = [_entry(row, family=row.logs_family(name)) for row in rows if row.when == when]
            if entries:
                parts.append("\n".join([f"{words[:1].upper()}{words[1:]}{remark}:", "", *entries]))
    return "\n\n".join(parts)


def _entry(row: Quantity, *, family: bool) -> str:
    parts = [tag.removeprefix(row.tag) for tag in row.tags[1:]]
    tags = [f"``{row.tag}``"] if row.tag else []
    if endings := [f"``{part}``" for part in parts if part.startswith("_")]:
        tags = [f"{tags[0]} with {', '.join(endings)}"]
    tags += [f"``{tag}``" for tag in (*parts, row.family_tag if family else "") if tag.startswith("thermo")]
    unit = "" if row.unit in ("none", "steps") or ";" in row.unit else f" (in {row.unit})"
    text = f"- {', '.join(tags)}{unit}: {row.summary}".replace("(in loss", "(in units of the loss")
    return textwrap.fill(text, 116, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def renew(path: Path, renewed: Callable[[str], str]) -> None:
    """Write a file anew if it has changed."""
    text = path.read_text(encoding="utf-8")
    if (fresh := renewed(text)) != text:
        path.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    for page in (ROOT / "docs").rglob("*.md"):
        renew(page, with_copies)
    for file in LISTING:
        renew(file, with_logged_values)
