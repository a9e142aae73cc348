"""All causes, one module each: a module that is put here is a cause from then on, with its rule and its page."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from thermo_callbacks.findings.cause import Cause

CAUSES: dict[str, Cause] = {
    cause.name: cause
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__))
    if isinstance(cause := getattr(import_module(f"{__name__}.{module}"), "CAUSE", None), Cause)
}
"""Each cause by its name."""
