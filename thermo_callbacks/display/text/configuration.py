"""Text form of a monitor's configuration, which loggers keep and the report reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

CONFIGURATION_TAG = "thermo/configuration"
"""Tag of the first monitor of a run; a second one has it with ``_2`` behind it."""
CONFIGURATION_FILE = "thermo_configuration"
"""Name of the file that holds the same beside a table, without its ``.json``."""


def configuration_text(configuration: Mapping[str, Any]) -> str:
    r"""Write a configuration as JSON.

    Args:
        configuration: Plain values by name; classes and functions are written by their names.

    Returns:
        JSON, a line a value.

    Example:
        >>> configuration_text({"window": 50})
        '{\n  "window": 50\n}'
    """
    return json.dumps(configuration, indent=2, default=_name)


def read_configuration(text: str) -> dict[str, Any]:
    r"""Read a configuration back.

    Args:
        text: From :func:`configuration_text`, alone or as a block of code in Markdown.

    Returns:
        Values by name; none where the text is nothing of the kind.

    Example:
        >>> read_configuration('```json\n{"window": 50}\n```'), read_configuration("cut o")
        ({'window': 50}, {})
    """
    try:
        found = json.loads(text.removeprefix("```json").removesuffix("```"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_configuration(tag: str) -> bool:
    """Whether a tag, without a logger's prefix, is that of a configuration.

    Args:
        tag: The tag.

    Returns:
        True for the first monitor's and for those with a number.

    Example:
        >>> is_configuration("thermo/configuration_2"), is_configuration("thermo/legend")
        (True, False)
    """
    return re.fullmatch(rf"{CONFIGURATION_TAG}(_\d+)?", tag) is not None


def _name(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
