"""Ctrl-C at any line of what puts things back: all is put back, and then the interrupt goes on."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from integration.faults import tracing
from integration.models import INPUTS, Regression, examples, loader, quiet_trainer
from lightning.pytorch import Callback
from torch import Tensor, nn

import thermo_callbacks
from thermo_callbacks import ThermoMonitor
from thermo_callbacks.probes import interrupts
from thermo_callbacks.probes.activations import ActivationProbe
from thermo_callbacks.probes.bulk import BulkProbe
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.interrupts import finish_all
from thermo_callbacks.probes.replay import Replay

CPU = torch.device("cpu")
PLACES = (str(Path(thermo_callbacks.__file__).parent / "probes"), contextlib.__file__)
BATCH = tuple(column[:4] for column in examples())


class Body(nn.Module):
    """Holds a little of everything that is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.head = nn.Linear(INPUTS, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)
        self.again, self.counts, self.cache = self.layer, [0], {"mean": torch.zeros(())}

    def forward(self, x: Tensor) -> Tensor:
        self.counts[0] += 1
        self.cache = {"mean": x.mean(), "calls": self.counts}
        return self.head(torch.relu(self.norm(self.layer(x))))


def everything(module: nn.Module) -> dict[str, Any]:
    """What must be the same object or value after an interrupt, in the module and in torch."""
    held: dict[str, Any] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        for kind in ("_parameters", "_buffers", "_modules"):
            held |= {f"{name}.{kind}.{key}": id(value) for key, value in getattr(part, kind).items()}
        held |= {f"{name}.{key}": len(value) for key, value in vars(part).items() if key.endswith("_hooks")}
        held |= {f"{name}.training": part.training, f"{name} attributes": sorted(vars(part))}
        held |= {f"{name}.{key}": repr(vars(part)[key]) for key in ("counts", "cache") if key in vars(part)}
    return held | {
        "values": [tensor.detach().clone().tolist() for tensor in module.state_dict().values()],
        "versions": [tensor._version for tensor in module.state_dict().values()],
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "anomaly": torch.is_anomaly_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "attention": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "stance": repr(torch._dynamo.eval_frame._stance),
        "watchers": torch._C._len_torch_function_stack(),
        "global hooks": [
            len(getattr(torch.nn.modules.module, f"_global_forward_{kind}")) for kind in ("hooks", "pre_hooks")
        ],
        "saved tensors": torch._C._autograd._saved_tensors_hooks_get_disabled_error_message(),
        "random": torch.get_rng_state().tolist(),
        "handler": signal.getsignal(signal.SIGINT),
        "open": len(interrupts._OPEN.blocks),
    }


def replayed(module: Regression) -> None:
    values = {parameter: parameter.detach().clone().requires_grad_() for parameter in module.parameters()}
    with Guard.invisible(CPU), Replay(module).loss(values, BATCH) as loss:
        torch.autograd.grad(loss.value, list(values.values()), allow_unused=True)


def bulk(module: Regression) -> None:
    with Guard.invisible(CPU):
        probe, replay = BulkProbe(samples=2, probes=1, steps=2), Replay(module)

        def step() -> Tensor:
            with replay.loss({}, BATCH) as loss:
                return loss.value

        probe.measure(module, step, generator=torch.Generator().manual_seed(0))


def activations(module: Regression) -> None:
    probe = vars(module).setdefault("probe", ActivationProbe(module))
    try:
        with Guard.invisible(CPU):
            probe.start()
        module.net.head(module.net.layer(BATCH[0]))
    finally:
        probe.stop()


def end(module: Regression) -> None:
    """What the monitor does when Lightning tells it of an exception."""
    finish_all()
    if "probe" in vars(module):
        vars(module)["probe"].stop()


WORK: dict[str, Callable[[Regression], None]] = {"replay": replayed, "bulk": bulk, "activations": activations}


class Injection:
    """Calls something at one line event in the package's probes and in contextlib, by number."""

    def __init__(self, number: int, what: Callable[[], None]) -> None:
        self.number, self.what, self.events = number, what, 0
        self.lines: list[tuple[str, int]] = []

    def __call__(self, frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PLACES):
            return None
        if event == "line":
            self.lines.append((frame.f_code.co_filename, frame.f_lineno))
            self.events += 1
            if self.events == self.number:
                sys.settrace(None)
                self.what()
        return self


def raise_it() -> None:
    raise KeyboardInterrupt


def send_it() -> None:
    signal.raise_signal(signal.SIGINT)


def moments(lines: list[tuple[str, int]]) -> list[int]:
    """Number of the first and of the last event of each line."""
    first = {line: number for number, line in reversed(list(enumerate(lines, 1)))}
    last = {line: number for number, line in enumerate(lines, 1)}
    return sorted({*first.values(), *last.values()})


CASES = [
    pytest.param(work, send, every, id=f"{name}, {how}, one in {every}", marks=marks)
    for name, work in WORK.items()
    for how, send in (("signal", send_it), ("exception", raise_it))
    for every, marks in ((24, []), (1, [pytest.mark.slow]))
]


@pytest.fixture(autouse=True)
def _python_handles_it() -> Iterator[None]:
    """Whatever started the tests: a shell that runs them in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("work", "send", "every"), CASES)
def test_nothing_is_left_behind(work: Callable[[Regression], None], send: Callable[[], None], every: int) -> None:
    torch.manual_seed(0)
    module = Regression(Body().double())
    for _ in range(3):  # what a first run imports has a second one look for modules anew, and count more events
        work(module)
        expected = everything(module)
    counted = Injection(0, raise_it)
    with tracing(counted):
        work(module)
    assert everything(module) == expected
    expected["raised"] = "KeyboardInterrupt"
    left: dict[str, list[str]] = {}
    tried = moments(counted.lines)[::every]
    for number in tried:
        injection = Injection(number, send)
        caught: str = "nothing"
        try:
            with tracing(injection):
                work(module)
        except BaseException as exception:
            caught = f"{type(exception).__name__} {exception}".strip()
        end(module)
        found = everything(module) | {"raised": caught}
        if wrong := [name for name, value in expected.items() if found.get(name) != value]:
            left["{}:{}".format(*counted.lines[number - 1])] = wrong
    assert left == {}
    assert len(tried) > 10


class Interrupting(Regression):
    """Ctrl-C is pressed in its training step, the first time that this is replayed."""

    def __init__(self) -> None:
        super().__init__(Body().double())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if interrupts._OPEN.blocks:  # a replay is under way
            signal.raise_signal(signal.SIGINT)
        return loss


class Looking(Callback):
    """Sees what there is when Lightning tells of an exception, behind the monitor."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.seen = everything(pl_module)


def test_an_interrupt_in_a_replay_ends_the_run_with_the_module_as_it_is() -> None:
    module, looking = Interrupting(), Looking()
    expected = everything(module)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        quiet_trainer(callbacks=[ThermoMonitor("full", 8, curvature_every_n_steps=4), looking]).fit(module, loader(20))
    assert signal.getsignal(signal.SIGINT) == handler  # Lightning puts it back
    trained = {"values", "versions", "random", "handler", "net.counts", "net.cache", " attributes"}
    assert {name for name, value in expected.items() if looking.seen[name] != value} <= trained
    assert {type(parameter) for part in module.modules() for parameter in part._parameters.values()} == {nn.Parameter}
    assert module.net.counts[0] == module.net.norm.num_batches_tracked < 10
