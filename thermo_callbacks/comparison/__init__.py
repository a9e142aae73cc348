"""Activations compared as heat engines: the same network trained with each of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermo_callbacks.comparison.compare import compare_activations
    from thermo_callbacks.comparison.result import ComparisonResult

__all__ = ["ComparisonResult", "compare_activations"]
_PLACES = {"ComparisonResult": "result", "compare_activations": "compare"}


def __getattr__(name: str) -> Any:
    # imported at first use: the command line asks for the settings, and answers before Lightning is there
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
