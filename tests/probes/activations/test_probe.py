"""Which calls the probe sees, what it calls them, and that it counts each once."""

from __future__ import annotations

from collections.abc import Callable
from re import escape
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import BinaryAccuracy

from thermo_callbacks.probes.activations import ActivationProbe

FUNCTIONS: dict[str, tuple[str, list[Callable[[Tensor], Tensor]]]] = {
    "relu": ("ReLU", [F.relu, torch.relu, Tensor.relu, torch.relu_, Tensor.relu_, lambda z: F.relu(z, inplace=True)]),
    "relu6": ("ReLU6", [F.relu6]),
    "leaky_relu": ("LeakyReLU", [F.leaky_relu, F.leaky_relu_]),
    "prelu": ("PReLU", [lambda z: F.prelu(z, torch.tensor([0.1]))]),
    "rrelu": ("RReLU", [F.rrelu, torch.rrelu]),
    "threshold": ("Threshold", [lambda z: F.threshold(z, 0.1, 0.0)]),
    "elu": ("ELU", [F.elu, F.elu_]),
    "selu": ("SELU", [F.selu, torch.selu]),
    "celu": ("CELU", [F.celu]),
    "gelu": ("GELU", [F.gelu, lambda z: F.gelu(z, approximate="tanh")]),
    "silu": ("SiLU", [F.silu]),
    "mish": ("Mish", [F.mish]),
    "hardswish": ("Hardswish", [F.hardswish]),
    "tanh": ("Tanh", [torch.tanh, Tensor.tanh, Tensor.tanh_, F.tanh]),
    "hardtanh": ("Hardtanh", [F.hardtanh, F.hardtanh_]),
    "softsign": ("Softsign", [F.softsign]),
    "sigmoid": ("Sigmoid", [torch.sigmoid, Tensor.sigmoid, F.sigmoid]),
    "expit": ("Sigmoid", [torch.special.expit]),
    "hardsigmoid": ("Hardsigmoid", [F.hardsigmoid]),
    "logsigmoid": ("LogSigmoid", [F.logsigmoid]),
    "softplus": ("Softplus", [F.softplus]),
    "tanhshrink": ("Tanhshrink", [F.tanhshrink]),
    "softshrink": ("Softshrink", [F.softshrink]),
    "hardshrink": ("Hardshrink", [F.hardshrink, Tensor.hardshrink]),
}
CALLS = [(name, kind, function) for name, (kind, functions) in FUNCTIONS.items() for function in functions]


class Calls(nn.Module):
    """A model whose forward is a function."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self._function = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *tensors: Tensor) -> Any:
        return self._function(self, *tensors)


def inputs(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*(shape or (8, 5)), generator=torch.Generator().manual_seed(seed))


def seen(model: nn.Module, *tensors: Tensor, **options: Any) -> dict[str, str]:
    """Names and types of the calls of one forward."""
    with ActivationProbe(model, **options) as probe:
        model(*(tensors or (inputs(),)))
    return {name: record.activation for name, record in probe.result().items()}


@pytest.mark.parametrize(("name", "kind", "function"), CALLS)
def test_a_function_is_one_call_of_its_module(name: str, kind: str, function: Any) -> None:
    model = Calls(lambda self, z: function(1.0 * z))
    assert seen(model) == {f"root.{name}": kind}


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in FUNCTIONS.values()}))
def test_a_module_has_its_own_name(kind: str) -> None:
    module = nn.Threshold(0.1, 0.0) if kind == "Threshold" else getattr(nn, kind)()
    model = nn.Sequential(nn.Linear(5, 4), nn.Sequential(module))
    assert seen(model) == {"1.0": kind}
    assert seen(Calls(lambda self, z: module(z))) == {f"root.{kind}": kind}  # no part of the model


def test_calls_are_named_by_where_they_stand_in_the_order_they_come() -> None:
    block = Calls(lambda self, z: F.relu(torch.tanh(F.relu(self.linear(z)))), linear=nn.Linear(5, 5))
    shared = nn.GELU()
    parts = {"first": block, "act": shared, "second": nn.Sequential(block, shared)}
    model = Calls(lambda self, z: torch.sigmoid(self.second(self.act(self.first(z)))), **parts)
    assert list(seen(model).items()) == [
        ("first.relu", "ReLU"),
        ("first.tanh", "Tanh"),
        ("first.relu#2", "ReLU"),
        ("act", "GELU"),
        ("first.relu#3", "ReLU"),
        ("first.tanh#2", "Tanh"),
        ("first.relu#4", "ReLU"),
        ("act#2", "GELU"),
        ("root.sigmoid", "Sigmoid"),
    ]


def test_each_pass_is_numbered_afresh() -> None:
    probe = ActivationProbe(nn.ReLU())
    for _ in range(2):
        with probe:
            probe._model(inputs())
        assert list(probe.result()) == ["root"]


def test_wrappers_leave_no_trace_in_names() -> None:
    inner = nn.Sequential(nn.Linear(5, 3), nn.ReLU())
    wrapped = Calls(lambda self, z: self._checkpoint_wrapped_module(z), _checkpoint_wrapped_module=inner)
    assert seen(nn.Sequential(wrapped)) == {"0.1": "ReLU"}


def test_a_subclass_goes_by_its_own_name() -> None:
    class Rectifier(nn.ReLU):
        """Nothing new."""

    assert seen(nn.Sequential(Rectifier())) == {"0": "Rectifier"}


def swish(self: nn.Module, z: Tensor) -> Tensor:
    return z * torch.sigmoid(z)


class Swish(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return swish(self, z)


def test_an_extra_module_hides_the_calls_inside() -> None:
    model = nn.Sequential(nn.Linear(5, 4), Swish(), nn.ReLU())
    assert seen(model) == {"1.sigmoid": "Sigmoid", "2": "ReLU"}
    assert seen(model, activations=[Swish]) == {"1": "Swish", "2": "ReLU"}
    assert seen(Calls(lambda self, z: Swish()(z)), activations=[Swish]) == {"root.Swish": "Swish"}
    assert seen(nn.Sequential(nn.Identity()), activations=[nn.Identity]) == {"0": "Identity"}


def test_an_extra_module_must_keep_the_shape() -> None:
    assert seen(nn.Sequential(nn.Linear(5, 4), nn.ReLU()), activations=[nn.Linear]) == {"1": "ReLU"}


@pytest.mark.parametrize("function", [torch.sin, Tensor.sin, Tensor.sin_])
def test_an_extra_function_brings_its_method(function: Any) -> None:
    model = Calls(lambda self, z: torch.sin(z).sin() + (1.0 * z).sin_())
    assert seen(model, activations=[function]) == {"root.sin": "sin", "root.sin#2": "sin", "root.sin#3": "sin"}


@pytest.mark.parametrize(("given", "name"), [(swish, "swish"), (lambda z: z, "<lambda>"), ("relu", "'relu'")])
def test_a_function_that_cannot_be_seen_is_refused(given: Any, name: str) -> None:
    pattern = (
        f"activations must hold module classes and functions of torch, got {name}: calls of other functions can't be "
        "seen; put it into the forward of a module and give that module's class"
    )
    with pytest.raises(ValueError, match=f"^{escape(pattern)}$"):
        ActivationProbe(nn.ReLU(), activations=[given])


@pytest.mark.parametrize("saturation", [0.0, -1.0, float("nan")])
def test_a_threshold_that_is_none_is_refused(saturation: float) -> None:
    with pytest.raises(ValueError, match=rf"^saturation must be a positive slope .*, got {saturation}$"):
        ActivationProbe(nn.ReLU(), saturation=saturation)


class Distributed(Tensor):
    """Like a DTensor: its elements may be elsewhere."""

    @classmethod
    def of(cls, tensor: Tensor) -> Distributed:
        return tensor.as_subclass(cls)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C._DisableTorchDispatch():
            return func(*args, **(kwargs or {}))


IGNORED = {
    "softmax": lambda self, z: torch.softmax(z, 1) + F.log_softmax(z, 1),
    "glu": lambda self, z: F.glu(z[:, :4]),
    "loss functions": lambda self, z: (
        F.binary_cross_entropy_with_logits(z, torch.ones_like(z)) + F.soft_margin_loss(z, z)
    ),
    "a loss module": lambda self, z: nn.BCEWithLogitsLoss()(z, torch.ones_like(z)),
    "a metric": lambda self, z: BinaryAccuracy()(10.0 * z, torch.ones_like(z).int()),
    "integers": lambda self, z: torch.relu(z.int()),
    "complex numbers": lambda self, z: torch.sigmoid(z + 0j),
    "nothing": lambda self, z: torch.relu(z[:0]),
    "a number": lambda self, z: torch.relu(z.sum()),
    "a parameter": lambda self, z: z * F.softplus(nn.Parameter(torch.ones(5))),
    "sparse": lambda self, z: torch.relu(z.to_sparse()),
    "nested": lambda self, z: torch.relu(torch.nested.nested_tensor([z, z[:3]])),
    "a tensor with computations of its own": lambda self, z: torch.relu(Distributed.of(z)),
    "meta": lambda self, z: torch.relu(z.to("meta")),
    "under torch.func": lambda self, z: torch.func.vmap(torch.func.grad(lambda row: torch.tanh(row).sum()))(z),
    "recurrent gates": lambda self, z: nn.LSTM(5, 3)(z)[0],
    "attention": lambda self, z: nn.MultiheadAttention(5, 1)(z, z, z)[0],
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", IGNORED)
def test_what_is_no_activation_goes_by(name: str) -> None:
    assert seen(Calls(IGNORED[name])) == {}


def test_a_loss_module_that_computes_with_activations_is_no_part_of_the_network() -> None:
    class Focal(nn.BCELoss):
        def forward(self, z: Tensor, targets: Tensor) -> Tensor:
            return super().forward(torch.sigmoid(z), targets)

    model = Calls(lambda self, z: self.loss(torch.tanh(z), torch.ones_like(z)), loss=Focal())
    assert seen(model) == {"root.tanh": "Tanh"}


def test_modules_inside_those_that_are_not_looked_into() -> None:
    class Judge(nn.MSELoss):
        def __init__(self) -> None:
            super().__init__()
            self.squash = nn.Tanh()

        def forward(self, z: Tensor, targets: Tensor) -> Tensor:
            return super().forward(self.squash(z), targets)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Tanh(), Swish())

        def forward(self, z: Tensor) -> Tensor:
            return self.inner(z)

    model = Calls(lambda self, z: self.loss(self.twice(z), torch.ones_like(z)), loss=Judge(), twice=Twice())
    assert seen(model) == {"twice.inner.0": "Tanh", "twice.inner.1.sigmoid": "Sigmoid"}
    assert seen(model, activations=[Twice, Swish]) == {"twice": "Twice"}


def test_a_gate_is_an_activation_where_it_stands() -> None:
    gate = Calls(lambda self, z: z * torch.sigmoid(self.weight(z)), weight=nn.Linear(5, 5))
    assert seen(nn.Sequential(gate)) == {"0.sigmoid": "Sigmoid"}


def test_outside_of_the_pass_nothing_is_seen() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
    probe = ActivationProbe(model)
    assert probe.result() == {}
    with probe:
        model(inputs())
    model(inputs())
    assert list(probe.result()) == ["1"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_code_runs_unseen() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.ReLU()))
    assert seen(nn.Sequential(scripted, nn.Tanh())) == {"1": "Tanh"}
