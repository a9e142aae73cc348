"""Version of the monitors' state in a checkpoint, and how an older one is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STATE_VERSION = 3

# version 2 had other words for the same numbers
_COLLECTORS = {
    "ActivationInstrument": "activations",
    "CurvatureInstrument": "curvature",
    "BulkInstrument": "bulk",
}
_FORMER_SUMS = frozenset({"production", "production_square"})


def current_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read a monitor's state of this version or of the one before, in this version's words."""
    if (version := state["version"]) == STATE_VERSION:
        return {**state, "windows": [_without_former_sums(window) for window in state["windows"]]}
    if version != 2:
        raise ValueError(f"the checkpoint's state has version {version}, this package reads 2 and {STATE_VERSION}")
    schedule = state["survey"]
    return {
        "version": STATE_VERSION,
        "windows": [
            _without_former_sums(_renamed(window, ledger="energy_balance", resting="paused"))
            for window in state["watches"]
        ],
        "publisher": _renamed(state["publisher"], looks="extra_passes"),
        "transition": state["transition"],
        "extra_passes": schedule
        and {
            "next": schedule["next"],
            "collectors": {
                _COLLECTORS[name]: _renamed(collector, looks="extra_passes")
                for name, collector in schedule["instruments"].items()
            },
        },
    }


def _without_former_sums(window: Mapping[str, Any]) -> dict[str, Any]:
    """A window's state without the sums of production by coordinates, which nothing is made of any more."""
    last = window["last"]
    if last is not None:
        last = {name: value for name, value in last.items() if name not in _FORMER_SUMS}
    return {**window, "last": last}


def _renamed(state: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The same values under other names."""
    return {names.get(name, name): value for name, value in state.items()}
