"""Docstrings of the package, made readable for the site: roles become links, formulas what the site renders.

The docstrings are written for ``help()`` and for editors, with the roles of reStructuredText (``:func:`` and its like).
Markdown knows none of them, so they are rewritten here while the package is read; no docstring has to change for it.
"""

from __future__ import annotations

import importlib
import re
import textwrap
from functools import cached_property
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`(?P<target>[^`]+)`")
INLINE_FORMULA = re.compile(r":math:`(?P<formula>[^`]+)`")
# on the line itself and those after it up to a blank one, or, after a blank one, all that is indented further
BLOCK_FORMULA = re.compile(
    r"^(?P<indent> *)\.\. math::"
    r"(?: (?P<formula>.+(?:\n(?P=indent) *\S.*)*)|\n\n(?P<block>(?:(?P=indent) +\S.*\n?|\n)+))",
    re.MULTILINE,
)
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
LITERAL = re.compile(r"^(?P<indent> *)Example::\n\n(?P<code>(?:(?P=indent) +\S.*\n?|\n)+)", re.MULTILINE)
PAGES = (
    "",
    ".functional",
    ".functional.linear",
    ".functional.topology",
    ".metrics",
    ".comparison",
    ".display",
    ".probes.activations",
    ".probes.bulk",
    ".probes.curvature",
    ".probes.replay",
)
"""Modules that the API pages show, below the package: what they export has a place to be linked to."""


class Docstrings(griffe.Extension):
    """Rewrites each docstring of the package once all of it has been read."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Called by griffe when a package has been read.

        Args:
            pkg: The package.
            loader: What read it.
            **kwargs: What griffe may add.
        """
        loader.resolve_aliases()
        objects = _members(pkg)
        show_functions(pkg)
        links = Links(pkg)
        for obj in objects:
            if obj.docstring is not None:
                obj.docstring.value = markdown(obj.docstring.value, obj, links)


class Links:
    """Where the site explains a name.

    Args:
        package: The package, with its aliases resolved.
    """

    def __init__(self, package: griffe.Module) -> None:
        self._package = package

    @cached_property
    def anchors(self) -> dict[str, str]:
        """Path of each documented object, where it is defined, to its anchor on the site."""
        found: dict[str, str] = {}
        for suffix in PAGES:
            module = self._package[suffix[1:]] if suffix else self._package
            for name in _public_names(module):
                target = module[name]
                anchor = f"{module.path}.{name}"
                found.setdefault(target.canonical_path, anchor)
                if target.is_class:
                    found.update({f"{target.canonical_path}.{member}": f"{anchor}.{member}" for member in METHODS})
        return found

    def link(self, target: str, obj: griffe.Object) -> str:
        """Markdown for a role.

        Args:
            target: What the role names; ``~`` before it means that the last part alone is shown.
            obj: Whose docstring it is in.

        Returns:
            A link if the site explains the name, else the name in code. A name that does not exist comes out as a link
            too, which leads nowhere: a strict build fails on it.
        """
        text = target.lstrip("~").rpartition(".")[2] if target.startswith("~") else target
        for path in self._candidates(target.lstrip("~"), obj):
            if path in self.anchors:
                return f"[`{text}`][{self.anchors[path]}]"
            if exists(path):
                return f"`{text}`"
        return f"[`{text}`][{target.lstrip('~')}]"

    def _candidates(self, name: str, obj: griffe.Object) -> list[str]:
        scopes: list[griffe.Object] = []
        scope: griffe.Object | None = obj
        while scope is not None:
            scopes.append(scope)
            scope = scope.parent
        paths = [self._canonical(f"{scope.path}.{name}") for scope in scopes]
        head, dot, rest = name.partition(".")
        holders = [scope for scope in scopes if not scope.is_function and head in scope.members]
        paths += [self._canonical(f"{scope.members[head].canonical_path}{dot}{rest}") for scope in holders]
        public = [path for path in self.anchors if path.rpartition(".")[2] == name]
        return [*paths, *public, self._canonical(name)]

    def _canonical(self, path: str) -> str:
        inside = path.removeprefix(f"{self._package.path}.")
        try:
            return str(self._package[inside].canonical_path) if inside != path else path
        except (KeyError, griffe.AliasResolutionError):
            return path


METHODS = ("latest", "update", "compute")
"""Methods that the API pages show with a class."""


def exists(path: str) -> bool:
    """Whether something importable has this dotted path.

    Args:
        path: The path.

    Returns:
        Whether it has, inherited attributes and annotated fields included.
    """
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            if part in getattr(found, "__annotations__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def markdown(text: str, obj: griffe.Object, links: Links) -> str:
    """A docstring in the Markdown of the site.

    Args:
        text: The docstring.
        obj: What it describes.
        links: Where the site explains a name.

    Returns:
        The docstring with formulas in dollar signs, code in fences and roles as links.
    """
    text = LITERAL.sub(_fence, text)
    text = EXAMPLE.sub(r"\1Examples:", text)  # the name that griffe knows the section by
    text = BLOCK_FORMULA.sub(_formula, text)
    text = INLINE_FORMULA.sub(lambda match: f"\\({match['formula']}\\)", text)
    return ROLE.sub(lambda match: links.link(match["target"], obj), text)


def _formula(match: re.Match[str]) -> str:
    lines = (match["formula"] or match["block"]).split()
    end = "\n\n" if match["block"] else ""
    return f"{match['indent']}\\[{' '.join(lines)}\\]{end}"


def _fence(match: re.Match[str]) -> str:
    code = textwrap.dedent(match["code"]).strip("\n")
    block = f"Example:\n\n```python\n{code}\n```\n"
    head, _, body = block.partition("\n\n")
    return textwrap.indent(f"{head}\n{textwrap.indent(body, '    ')}", match["indent"])


def show_functions(package: griffe.Module) -> None:
    """Let a function stand under its own name where a file of the same name hides it, as it does at run time."""
    for suffix in filter(None, PAGES):
        room = package[suffix[1:]]
        for name in _public_names(room):
            if room[name].is_module and name in room[name].members:
                room.set_member(name, griffe.Alias(name, room[name][name], parent=room))


def _public_names(module: griffe.Module) -> list[str]:
    own = [name for name, member in module.members.items() if not member.is_alias and not name.startswith("_")]
    return [str(name) for name in module.exports or own]


def _members(obj: griffe.Object) -> list[griffe.Object]:
    found = [obj]
    for member in obj.members.values():
        if isinstance(member, griffe.Object):  # and no alias: what it stands for comes in its own place
            found += _members(member)
    return found
