"""A network that does not use the activation it is given is refused before anything is trained or written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from comparison_models import Data, Net, PlainNet
from torch import nn

from thermo_callbacks.comparison import compare_activations
from thermo_callbacks.comparison.activations import candidates
from thermo_callbacks.comparison.ignored_activation import refuse_ignored_activation

BOTH = candidates(["Tanh", "GELU"])


def ignoring(activation: nn.Module) -> Net:
    return Net()


class WrittenDown(Net):
    """Writes down what it is given, and has an activation of its own."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["lr"], logger=False)


class InAList(Net):
    """Keeps its activation where torch does not look."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.functions = [activation]


# Lightning advises against writing a module down, as WrittenDown does
pytestmark = pytest.mark.filterwarnings("ignore:.*is an instance of `nn.Module`")
IGNORED = "make_module ignores the activation that it is given"


def test_refused_before_training_with_what_was_found(tmp_path: Path) -> None:
    text = (
        f"{IGNORED}: with 'Tanh' and with 'GELU', Net has the activations activation (ReLU), and nothing in it holds "
        "what was given, so that all activations would rank the same. Use its argument 'activation' in the network, or "
        "give a function without arguments, whose activation modules are replaced"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        compare_activations(ignoring, ["Tanh", "GELU"], Data(), directory=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "make", [lambda act: PlainNet(), lambda *, activation: Net(), WrittenDown, lambda act: Net(nn.Tanh())]
)
@pytest.mark.parametrize("some", [BOTH, candidates(["SiLU"])], ids=["two", "one"])
def test_ignored(make: Any, some: Any) -> None:
    with pytest.raises(ValueError, match=IGNORED):
        refuse_ignored_activation(make, some, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda act: Net(act),
        lambda act: Net(type(act)()),
        lambda act: Net(nn.Sequential(act)),
        InAList,
        Net,
        PlainNet,
        Net(),
        lambda: Net(),
        lambda act: 1 / 0,
    ],
    ids=["itself", "its class", "wrapped", "in a list", "class", "without an argument", "module", "function", "fails"],
)
@pytest.mark.parametrize("some", [BOTH, candidates(["Tanh"])], ids=["two", "one"])
def test_used_or_not_for_us_to_tell(make: Any, some: Any) -> None:
    refuse_ignored_activation(make, some, 0)
