"""All causes, one module each: a module that is put here is a cause from then on, with its rule and its page."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from thermo_callbacks.findings.cause import Cause


def collect() -> dict[str, Cause]:
    """Find all causes in this folder.

    Returns:
        Each cause by its name, in the order of the modules' names.
    """
    names = sorted(each.name for each in pkgutil.iter_modules(__path__))
    found = (getattr(import_module(f"{__name__}.{name}"), "CAUSE", None) for name in names)
    return {cause.name: cause for cause in found if isinstance(cause, Cause)}


CAUSES = collect()
"""Each cause by its name."""
