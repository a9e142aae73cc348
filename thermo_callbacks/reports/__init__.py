"""Deprecated name of :mod:`thermo_callbacks.display`."""

from __future__ import annotations

import warnings
from typing import Any

from thermo_callbacks import display


def __getattr__(name: str) -> Any:
    value = getattr(display, name)
    warnings.warn(
        "thermo_callbacks.reports is deprecated: import the same names from thermo_callbacks.display",
        DeprecationWarning,
        stacklevel=2,
    )
    return value
