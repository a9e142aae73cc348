"""Which modules of a large program a replay looks into: those that the network's code can reach."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from thermo_callbacks.probes.replay.namespaces import own_modules

SOURCES = {
    "reach_network": "from torch import nn\nimport reach_helpers\n\n\nclass Net(nn.Module):\n"
    "    def forward(self, x):\n        import reach_local\n\n        return reach_local.scale(x)\n",
    "reach_helpers": "from reach_deep import STATE\n\nKEPT = STATE.copy()\n",
    "reach_deep": "class State(dict):\n    pass\n\n\nSTATE = State()\n",
    "reach_local": "def scale(x):\n    return x\n",
    "reach_loss": "def loss_fn(module, batch):\n    return module(batch).sum()\n",
    "reach_unrelated": "LARGE = list(range(1000))\n",
}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for name in SOURCES:
        __import__(name)
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # taken out again behind the test


@pytest.mark.usefixtures("program")
def test_modules_that_the_network_s_code_reaches() -> None:
    module = nn.Sequential(sys.modules["reach_network"].Net())
    reached = {each.__name__ for each in own_modules(module)}
    assert reached == {"reach_network", "reach_helpers", "reach_deep", "reach_local"}
    with_loss = {each.__name__ for each in own_modules(module, sys.modules["reach_loss"].loss_fn, None)}
    assert with_loss == reached | {"reach_loss"}


def test_a_network_of_torch_s_own_parts_reaches_none() -> None:
    assert own_modules(nn.Linear(2, 2)) == ()
