"""Settings that Lightning's loggers note in ``hparams.yaml``, read without making any object of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from thermo_callbacks.commands.report.small_files import read_small_file

HYPERPARAMETERS_FILE = "hparams.yaml"
_LARGEST = 200_000  # bytes: some seconds' work for PyYAML
_DEEPEST = 50  # lists and tables within one another
_MOST_ENTRIES = 1_000  # of one setting, with all that it refers to written out
_LONGEST = 1_000  # signs of a setting that are shown


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader, which ends in a deep nesting before Python's stack does."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read a node, and those below it."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise yaml.YAMLError(f"more than {_DEEPEST} lists and tables in one another")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_hyperparameters(path: Path) -> tuple[dict[str, str], list[str]]:
    """Read the settings of a run, each as text.

    Returns:
        The settings, and sentences on those that can't be shown.
    """
    content, notice = read_small_file(path, _LARGEST)
    if content is None:
        return {}, [notice] if notice else []
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
    except (yaml.YAMLError, ValueError) as fault:
        reason = getattr(fault, "problem", None) or str(fault).partition("\n")[0]
        return {}, [f"{path.name} is left out: {reason}."]
    if node is None:
        return {}, []
    if not isinstance(node, yaml.MappingNode):
        return {}, [f"{path.name} holds no table of settings, and is left out."]
    settings, notices = {}, []
    sizes: dict[int, float] = {}
    for key, value in node.value:
        name = str(key.value)[:_LONGEST] if isinstance(key, yaml.ScalarNode) else "a list or table"
        try:
            _check_entries(_entries(key, sizes) + _entries(value, sizes))
            setting = str(loader.construct_object(value, deep=True))
            settings[str(loader.construct_object(key, deep=True))[:_LONGEST]] = _shortened(setting)
        except Exception as fault:  # of any kind: dates and tags go through a dozen constructors
            reason = getattr(fault, "problem", None) or str(fault) or type(fault).__name__
            notices.append(f"{path.name}: the setting {name[:60]!r} is left out ({reason[:200]}).")
    return settings, _few(notices, path.name)


def _check_entries(entries: float) -> None:
    if entries > _MOST_ENTRIES:
        raise ValueError(f"it has more than {_MOST_ENTRIES:,} entries")


def _entries(node: yaml.Node, sizes: dict[int, float]) -> float:
    """Entries of a node once all that it refers to is written out; infinite where it holds itself."""
    if id(node) not in sizes:
        sizes[id(node)] = math.inf
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for each in below for part in (each if isinstance(each, tuple) else (each,))]
        sizes[id(node)] = 1.0 + sum(_entries(part, sizes) for part in parts)
    return sizes[id(node)]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _few(notices: list[str], name: str, most: int = 5) -> list[str]:
    rest = len(notices) - most
    return notices if rest <= 0 else [*notices[:most], f"{name}: {rest:,} more settings are left out."]
