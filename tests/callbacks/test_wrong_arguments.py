"""Everything that can be handed to a public constructor: taken for a reason, or refused at once with name and value."""

from __future__ import annotations

import inspect
import math
import warnings
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

import thermo_callbacks
from thermo_callbacks import compare_activations


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


GIVEN: dict[str, Any] = {
    "None": None,
    "0": 0,
    "1": 1,
    "5": 5,
    "500": 500,
    "-1": -1,
    "0.5": 0.5,
    "2.5": 2.5,
    "nan": math.nan,
    "inf": math.inf,
    "2**63 - 1": 2**63 - 1,
    "2**63": 2**63,
    "2**64": 2**64,
    "10**400": 10**400,
    "True": True,
    "False": False,
    "''": "",
    "'x'": "x",
    "'all'": "all",
    "'light'": "light",
    "'first'": "first",
    "b'x'": b"x",
    "[]": [],
    "()": (),
    "[5]": [5],
    "['x']": ["x"],
    "['light']": ["light"],
    "[len]": [len],
    "[sin]": [torch.sin],
    "[GELU]": [nn.GELU],
    "[0, 1]": [0, 1],
    "['a', 'b']": ["a", "b"],
    "[1, 1]": [1, 1],
    "{'a': 1}": {"a": 1},
    "{}": {},
    "len": len,
    "GELU": nn.GELU,
    "iterator": iter(["x"]),
    "odd": Odd(),
    "console": Console(),
}
WHOLE = {"0", "1", "5", "500", "2**63 - 1"}
POSITIVE = WHOLE - {"0"}
NUMBERS = {*WHOLE, "0.5", "2.5"}
LAYERS = {"None", "'all'", "['x']", "['light']", "['a', 'b']"}
CALLABLE = {"None", "len", "GELU"}
TAKEN: dict[str, set[str]] = {
    "preset": {"'light'"},
    "window": {"None", "500", "2**63 - 1"},
    "steps_between_windows": {"None", *WHOLE},
    "rest": {"None", *WHOLE},
    "sample": {"None", "5", "500", "2**63 - 1"},
    "curvature_every_n_steps": {"None", *POSITIVE},
    "layers": LAYERS,
    "loss_fn": CALLABLE,
    "batch_size": {"None", *POSITIVE},
    "seed": WHOLE,
    "within_layers": {"True", "False"},
    "activations": {"[]", "()", "[sin]", "[GELU]"},
    "network": {"None", "'x'", "'all'", "'light'", "'first'"},
    "samples": POSITIVE,
    "regulator": {*NUMBERS} - {"0"},
    "every_n_seconds": {*NUMBERS, "2**63", "2**64"},
    "console": {"None", "console"},
    "outputs_fn": CALLABLE,
    "datasets": {"[0, 1]", "['a', 'b']"},
    "reference": {"'first'"},
    "max_residuals": {"500"},
    "factor": {"0.5"},
    "min_lr": {"None", *NUMBERS, "2**63", "2**64"} - {"0"},
    "level": set(),
    "tolerance": {*NUMBERS, "2**63", "2**64"} - {"0"},
    "loss_tolerance": {*NUMBERS, "2**63", "2**64"} - {"0"},
    "warmup_steps": {*WHOLE, "2**63", "2**64", "10**400"},
    "cooldown": {"0", "0.5"},
    "grow": {"True", "False"},
    "persistence": {*POSITIVE, "2**63", "2**64", "10**400"},
}
TAKEN["regulator"] |= {"2**63", "2**64"}
OF_TABLE = {"layers": WHOLE | {"2**63", "2**64", "10**400"}}
CONSTRUCTORS = [getattr(thermo_callbacks, name) for name in thermo_callbacks.__all__ if name[0].isupper()]
ARGUMENTS = [(each, name) for each in CONSTRUCTORS for name in inspect.signature(each).parameters]


def taken(constructor: Any, name: str) -> set[str]:
    return OF_TABLE[name] if constructor is thermo_callbacks.LiveTable and name in OF_TABLE else TAKEN[name]


@pytest.mark.parametrize(("constructor", "name"), ARGUMENTS, ids=lambda each: getattr(each, "__name__", each))
def test_each_argument_takes_what_it_can_and_refuses_all_else_by_name(constructor: Any, name: str) -> None:
    accepted, messages = set(), {}
    for label, value in GIVEN.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # rest
            try:
                constructor(**{name: value})
            except ValueError as fault:
                messages[label] = str(fault)
            else:
                accepted.add(label)
    assert [label for label, message in messages.items() if not message.startswith(name)] == []
    # of activations the one that is wrong is named
    assert name == "activations" or [label for label in messages if repr(GIVEN[label]) not in messages[label]] == []
    assert accepted == taken(constructor, name)


REACHED: dict[str, set[str]] = {
    "make_module": {"len", "GELU"},
    "activations": {"[len]", "[sin]", "[GELU]"},
    "data": {"[0, 1]", "['a', 'b']", "[1, 1]"},
    "seeds": {"1", "5", "500", "[5]", "[0, 1]"},
    "trainer_kwargs": {"None", "{'a': 1}", "{}"},
    "metrics": {"['x']", "['light']", "['a', 'b']"},
    "directory": {"'x'", "'all'", "'light'", "'first'"},
    "jobs": {"None", "1", "5", "500", "-1", "2**63 - 1", "2**63", "2**64", "10**400"},
}


@pytest.mark.parametrize("name", REACHED)
def test_a_comparison_refuses_before_training(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong value of one argument, beside right ones, is refused by name before a run or a folder is made."""
    from thermo_callbacks.comparison import compare

    class Reached(Exception):
        """All arguments were taken."""

    def reach(*_: Any) -> None:
        raise Reached

    monkeypatch.setattr(compare, "held", reach)
    right = {"make_module": len, "activations": ["ReLU"], "data": ([], []), "directory": tmp_path / "out"}
    reached, messages = set(), {}
    for label, value in GIVEN.items():
        try:
            compare_activations(**{**right, name: value})
        except Reached:
            reached.add(label)
        except (ValueError, TypeError) as fault:
            messages[label] = str(fault)
    assert [label for label, message in messages.items() if not message.startswith(name)] == []
    assert not (tmp_path / "out").exists()
    assert reached == REACHED[name]
