"""Text form of a monitor's configuration, which loggers keep and the report reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

CONFIGURATION_TAG = "thermo/run_configuration"
"""Tag of the first monitor of a run; a second one has it with ``_2`` behind it."""
CONFIGURATION_FILE = "thermo_run_configuration"
"""Name of the file that holds the same beside a table, without its ``.json``."""


def configuration_text(configuration: Mapping[str, Any]) -> str:
    """Write a configuration as JSON, a line a value; classes and functions are written by their names."""
    return json.dumps(configuration, indent=2, default=_name)


def read_configuration(text: str) -> dict[str, Any]:
    """Read a configuration back, alone or from a block of code in Markdown; empty where it is none."""
    try:
        found = json.loads(text.removeprefix("```json").removesuffix("```"))
    except (ValueError, RecursionError):  # lists a thousandfold within one another
        return {}
    return found if isinstance(found, dict) else {}


def is_configuration(tag: str) -> bool:
    """Whether a tag without a logger's prefix is that of a configuration: the first monitor's, or one with a number."""
    return re.fullmatch(rf"{CONFIGURATION_TAG}(_\d+)?", tag) is not None


def _name(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
