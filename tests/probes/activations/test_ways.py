"""However an activation is called, it gives the same numbers."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from probes.activations.activation_passes import (
    DOUBLE,
    Model,
    assert_equal_records,
    by_hand,
    inputs,
    linear,
    loss_of,
    measure,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from thermo_callbacks.functional import (
    work_efficiency,
)

IN_PLACE = {
    "relu": (F.relu, [lambda z: F.relu(z, inplace=True), torch.relu_, Tensor.relu_, F.relu_]),
    "elu": (F.elu, [lambda z: F.elu(z, inplace=True), F.elu_]),
    "tanh": (torch.tanh, [torch.tanh_, Tensor.tanh_]),
    "leaky_relu": (F.leaky_relu, [lambda z: F.leaky_relu(z, inplace=True)]),
    "hardswish": (F.hardswish, [lambda z: F.hardswish(z, inplace=True)]),
    "silu": (F.silu, [lambda z: F.silu(z, inplace=True)]),
}
PAIRS = [(name, plain, other) for name, (plain, others) in IN_PLACE.items() for other in others]


class TestWaysToCall:
    @pytest.mark.parametrize(("name", "plain", "in_place"), PAIRS)
    def test_in_place_reads_the_input_before(self, name: str, plain: Any, in_place: Any) -> None:
        parts = {"first": linear(4, 5), "second": linear(5, 3)}
        twins = [
            measure(Model(lambda self, x, call=call: self.second(call(self.first(x))), **parts), inputs(20, 4))
            for call in (plain, in_place)
        ]
        assert_equal_records(twins[0][f"root.{name}"], twins[1][f"root.{name}"])
        assert twins[0][f"root.{name}"].work_efficiency < 1.0

    def test_a_part_written_in_place_has_values(self) -> None:
        def forward(self: Any, x: Tensor) -> Tensor:
            z = self.first(x)
            z[:, :2].relu_()
            return z

        z = linear(4, 3)(inputs(20, 4))[:, :2]
        record = measure(Model(forward, first=linear(4, 3)), inputs(20, 4))["root.relu"]
        assert record.work_efficiency == pytest.approx(work_efficiency(z, z.relu()).item(), rel=1e-12)
        assert math.isnan(record.learning_efficiency)

    @pytest.mark.parametrize(
        ("modules", "functions"),
        [
            ([nn.ReLU(), nn.Tanh(), nn.GELU(), nn.SiLU()], [F.relu, torch.tanh, F.gelu, F.silu]),
            (
                [nn.ReLU(inplace=True), nn.ELU(), nn.Mish(), nn.Softsign()],
                [Tensor.relu_, F.elu, F.mish, F.softsign],
            ),
            (
                [nn.Sigmoid(), nn.Softplus(beta=2.0), nn.Hardtanh(-2, 0.5), nn.SELU()],
                [
                    Tensor.sigmoid,
                    lambda z: F.softplus(z, 2.0),
                    lambda z: F.hardtanh(z, min_val=-2, max_val=0.5),
                    F.selu,
                ],
            ),
        ],
    )
    def test_modules_and_functions_give_equal_numbers(self, modules: Any, functions: Any) -> None:
        layers = [linear(5, 5, seed=seed) for seed in range(4)]
        net = nn.Sequential(*(part for pair in zip(layers, modules, strict=True) for part in pair))

        def forward(self: Any, x: Tensor) -> Tensor:
            for layer, function in zip(layers, functions, strict=True):
                x = function(layer(x))
            return x

        as_modules = measure(net, inputs(30, 5))
        as_functions = measure(Model(forward), inputs(30, 5))
        assert len(as_modules) == len(as_functions) == 4
        for first, second in zip(as_modules.values(), as_functions.values(), strict=True):
            assert_equal_records(first, second, rtol=0.0)
            assert (first.activation, first.engine) == (second.activation, second.engine)

    def test_a_shared_object_is_as_many_as_its_calls(self) -> None:
        layers, act = [linear(5, 5, seed=seed) for seed in range(3)], nn.Tanh()
        shared = nn.Sequential(layers[0], act, layers[1], act, layers[2], act)
        apart = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))
        records, expected = measure(shared, inputs(30, 5)), measure(apart, inputs(30, 5))
        assert list(records) == ["1", "1#2", "1#3"]
        for first, second in zip(records.values(), expected.values(), strict=True):
            assert_equal_records(first, second, rtol=0.0)

    def test_the_memory_format_does_not_matter(self) -> None:
        conv = nn.Conv2d(3, 6, 3, dtype=DOUBLE)
        model = nn.Sequential(conv, nn.ReLU())
        plain = measure(model, inputs(4, 3, 8, 8))["1"]
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        strided = measure(last, inputs(4, 3, 8, 8).to(memory_format=torch.channels_last))["1"]
        assert_equal_records(plain, strided)

    def test_a_transformer_calls_its_activation_as_a_function(self) -> None:
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, dtype=DOUBLE)
        record = measure(layer, inputs(6, 5, 8))["root.gelu"]
        kept: dict[str, Tensor] = {}
        layer.linear1.register_forward_hook(lambda module, x, z: kept.update(z=z) or z.retain_grad())
        layer.linear2.register_forward_pre_hook(lambda module, x: kept.update(a=x[0]) or x[0].retain_grad())
        loss_of(layer(inputs(6, 5, 8))).backward()
        for name, value in by_hand(kept["z"], kept["a"], F.gelu, features=(2,)).items():
            assert_close(getattr(record, name), value, rtol=1e-12, atol=1e-14, msg=name)

    @pytest.mark.parametrize("reentrant", [False, True])
    @pytest.mark.parametrize("parts", ["closures", "modules"])
    def test_checkpoints_count_once(self, reentrant: bool, parts: str) -> None:
        layers = nn.ModuleList([linear(5, 5, seed=seed) for seed in range(3)])
        act = nn.GELU()

        def block(layer: nn.Module, x: Tensor) -> Tensor:
            return torch.tanh(layer(F.relu(layer(x)))) if parts == "closures" else act(layer(act(x)))

        def forward(self: Any, x: Tensor, *, again: bool) -> Tensor:
            for layer in layers:
                x = checkpoint(block, layer, x, use_reentrant=reentrant) if again else block(layer, x)
            return torch.sigmoid(x)

        x = inputs(20, 5).requires_grad_()  # a reentrant checkpoint gives no gradient otherwise
        plain = measure(Model(lambda self, x: forward(self, x, again=False), act=act), x)
        again = measure(Model(lambda self, x: forward(self, x, again=True), act=act), x)
        assert list(plain) == list(again)
        assert len(plain) == 7
        for name, record in plain.items():
            assert_equal_records(record, again[name])
            assert record.learning_efficiency > 0.0

    def test_equal_calls_in_a_checkpoint_keep_their_order(self) -> None:
        def block(x: Tensor) -> Tensor:
            return torch.cat([torch.tanh(x), 3.0 * torch.tanh(x)], 1)

        x = inputs(20, 5).requires_grad_()
        plain = measure(Model(lambda self, x: block(x)), x)
        again = measure(Model(lambda self, x: checkpoint(block, x, use_reentrant=True)), x)
        assert list(again) == ["root.tanh", "root.tanh#2"]
        for name, record in plain.items():
            assert_equal_records(record, again[name])
        first, second = (record.learning_efficiency for record in plain.values())
        assert first != second

    @pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # the outer one's first forward
    def test_a_checkpoint_within_a_checkpoint(self) -> None:
        layers = nn.ModuleList([linear(5, 5, seed=seed) for seed in range(2)])

        def inner(x: Tensor) -> Tensor:
            return torch.tanh(layers[1](x))

        def outer(x: Tensor) -> Tensor:
            return F.relu(checkpoint(inner, torch.tanh(layers[0](x)), use_reentrant=True))

        x = inputs(20, 5).requires_grad_()
        nested = measure(Model(lambda self, x: checkpoint(outer, x, use_reentrant=True)), x)
        plain = measure(Model(lambda self, x: F.relu(inner(torch.tanh(layers[0](x))))), x)
        assert list(nested) == ["root.tanh", "root.tanh#2", "root.relu"]
        for name, record in plain.items():
            assert_equal_records(record, nested[name])
