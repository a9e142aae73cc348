"""Further calls of an activation: deeper in the network, or another run of it that is put together with the first."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from probes.activations.activation_passes import DOUBLE, Model, inputs, linear, loss_of
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from thermo_callbacks.functional import dead_unit_fraction, learning_efficiency, temperature_drop, work_efficiency
from thermo_callbacks.probes.activations import ActivationProbe, ActivationRecord


def network(**options: Any) -> nn.Sequential:
    return nn.Sequential(linear(6, 5, **options), nn.Tanh(), linear(5, 4, seed=1, **options), nn.ReLU())


def passes(run: Any, model: nn.Module) -> dict[str, ActivationRecord]:
    with ActivationProbe(model) as probe:
        run()
    return probe.result()


def kept(model: nn.Sequential, *tensors: Tensor, losses: int = 1) -> tuple[Tensor, ...]:
    """Inputs, outputs and their gradients at the first activation of all runs together."""
    pairs = []
    for tensor in tensors:
        z = model[0](tensor)
        a = model[1](z)
        z.retain_grad()
        a.retain_grad()
        pairs.append((z, a, model[2:](a)))
    for _ in range(losses):
        sum(loss_of(output) for *_, output in pairs).backward()
    return tuple(torch.cat(parts) for parts in zip(*((z, a, z.grad, a.grad) for z, a, _ in pairs), strict=True))


class TestRepeats:
    def test_two_views_are_put_together_by_their_sums(self) -> None:
        model, views = network(), [inputs(20, 6), 3.0 * inputs(20, 6, seed=1)]
        records = passes(lambda: (loss_of(model(views[0])) + loss_of(model(views[1]))).backward(), model)
        assert list(records) == ["1", "3"]
        z, a, at_z, at_a = kept(model, *views)
        record = records["1"]
        assert_close(record.work_efficiency, work_efficiency(z, a).item(), rtol=1e-12, atol=0.0)
        assert_close(record.learning_efficiency, learning_efficiency(at_z, at_a).item(), rtol=1e-12, atol=0.0)
        assert_close(record.temperature_drop, temperature_drop(z, a).item(), rtol=1e-12, atol=0.0)
        assert record.powers.input.shape == (20,)  # two views of a sample are one replicate
        assert_close(record.powers.input.sum(), z.detach().square().sum(), rtol=1e-12, atol=0.0)

    def test_batches_of_other_sizes_are_further_samples(self) -> None:
        model = network()
        records = passes(lambda: [loss_of(model(inputs(size, 6))).backward() for size in (20, 7)], model)
        assert list(records) == ["1", "3"]
        assert records["1"].powers.input.shape == (27,)

    def test_the_product_along_the_depth_does_not_know_how_often_the_network_ran(self) -> None:
        model, x = network(), inputs(20, 6)
        once, thrice = (passes(lambda n=n: [loss_of(model(x)).backward() for _ in range(n)], model) for n in (1, 3))
        assert list(once) == list(thrice)
        for name in once:
            assert_close(once[name].work_efficiency, thrice[name].work_efficiency, rtol=1e-12, atol=0.0)
            assert_close(once[name].learning_signal, thrice[name].learning_signal, rtol=1e-12, atol=0.0)

    def test_closures_of_lbfgs_with_functions_in_the_step(self) -> None:
        """The step itself calls the activation, in no module that could be told to be called again."""
        layer, x = linear(6, 5), inputs(20, 6)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=4)
        closures = []

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(torch.tanh(torch.tanh(layer(x))))
            loss.backward()
            closures.append(loss)
            return loss

        records = passes(lambda: optimizer.step(closure), layer)
        assert len(closures) > 1
        assert list(records) == ["root.tanh", "root.tanh#2"]

    def test_real_and_false_samples_of_a_discriminator(self) -> None:
        generator = nn.Sequential(linear(3, 6), nn.Tanh())
        model = nn.ModuleDict({"generator": generator, "judge": network()})

        def step() -> None:
            false = generator(inputs(20, 3))
            judge = model["judge"]
            (loss_of(judge(inputs(20, 6))) + loss_of(judge(false.detach()))).backward()
            loss_of(judge(false)).backward()

        assert list(passes(step, model)) == ["generator.1", "judge.1", "judge.3"]

    def test_a_twin_within_one_forward(self) -> None:
        model = Model(lambda self, x: self.twin(x[:, :6]) - self.twin(x[:, 6:]), twin=network())
        assert list(passes(lambda: loss_of(model(inputs(20, 12))).backward(), model)) == ["twin.1", "twin.3"]

    def test_a_teacher_without_gradients_and_its_pupil(self) -> None:
        model = network()

        def step() -> None:
            with torch.no_grad():
                target = model(inputs(20, 6))
            loss_of(model(inputs(20, 6, seed=1)) - target).backward()

        records = passes(step, model)
        assert list(records) == ["1", "3"]
        assert 0.0 < records["1"].learning_efficiency < 1.0

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_with_checkpoints(self, reentrant: bool) -> None:
        model = network()

        def step() -> None:
            views = [inputs(20, 6, seed=seed).requires_grad_() for seed in (0, 1)]
            sum(loss_of(checkpoint(model, view, use_reentrant=reentrant)) for view in views).backward()

        record = passes(step, model)["1"]
        z, a, at_z, at_a = kept(model, inputs(20, 6), inputs(20, 6, seed=1))
        assert_close(record.work_efficiency, work_efficiency(z, a).item(), rtol=1e-12, atol=0.0)
        assert_close(record.learning_efficiency, learning_efficiency(at_z, at_a).item(), rtol=1e-12, atol=0.0)

    def test_a_unit_is_dead_if_it_is_so_in_all_runs(self) -> None:
        model = nn.Sequential(nn.Flatten(), nn.ReLU())
        first, second = -torch.ones(4, 3), -torch.ones(4, 3)
        second[2, 0] = 1.0
        records = passes(lambda: [model(first), model(second)], model)
        assert records["1"].dead_fraction == pytest.approx(2 / 3)
        other = passes(lambda: [model(first), model(-torch.ones(4, 6))], model)  # units of another number
        assert other["1"].dead_fraction == 1.0

    def test_a_pass_can_be_read_twice(self) -> None:
        model, x = network(), inputs(20, 6).requires_grad_()
        with ActivationProbe(model) as probe:
            loss_of(checkpoint(model, x, use_reentrant=True)).backward()
        first, second = probe.result()["1"], probe.result()["1"]
        assert first.powers.grad_output is not None
        assert second.powers.grad_output is not None
        assert_close(first.powers.grad_output, second.powers.grad_output, rtol=0.0, atol=0.0)


class TestDepth:
    def test_a_loop_over_a_block(self) -> None:
        model = Model(
            lambda self, x: self.block(self.block(self.block(x))), block=nn.Sequential(linear(6, 6), nn.ReLU())
        )
        assert list(passes(lambda: loss_of(model(inputs(20, 6))).backward(), model)) == [
            "block.1",
            "block.1#2",
            "block.1#3",
        ]

    def test_a_network_whose_output_it_gets_again(self) -> None:
        """The step calls the same network twice, and the second call works on what the first gave out."""
        model = nn.Sequential(linear(6, 6), nn.Tanh())
        records = passes(lambda: loss_of(model(model(inputs(20, 6)))).backward(), model)
        assert list(records) == ["1", "1#2"]

    def test_loops_in_two_runs(self) -> None:
        model = Model(lambda self, x: self.block(self.block(x)), block=nn.Sequential(linear(6, 6), nn.ReLU()))
        records = passes(lambda: (loss_of(model(inputs(20, 6))) + loss_of(model(-inputs(20, 6)))).backward(), model)
        assert list(records) == ["block.1", "block.1#2"]

    def test_a_loop_without_a_graph(self) -> None:
        model = Model(lambda self, x: self.block(self.block(x)), block=nn.Sequential(linear(6, 6), nn.ReLU()))
        model.requires_grad_(False)
        assert list(passes(lambda: [model(inputs(20, 6)), model(inputs(20, 6))], model)) == ["block.1", "block.1#2"]

    def test_two_gates_side_by_side_stay_two(self) -> None:
        model = Model(
            lambda self, x: torch.sigmoid(self.a(x)) * torch.sigmoid(self.b(x)), a=linear(6, 5), b=linear(6, 5)
        )
        assert list(passes(lambda: loss_of(model(inputs(20, 6))).backward(), model)) == [
            "root.sigmoid",
            "root.sigmoid#2",
        ]

    def test_a_block_in_two_places_of_one_forward(self) -> None:
        shared = nn.Sequential(linear(6, 6), nn.Tanh())
        model = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))
        assert list(passes(lambda: loss_of(model(inputs(20, 6))).backward(), model)) == ["0.0.1", "0.0.1#2"]


def dead(module: nn.Module, z: Tensor, *, signal: bool = True) -> ActivationRecord:
    layer = nn.Linear(z.shape[1], z.shape[1], dtype=DOUBLE)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(z.shape[1]))
        layer.bias.zero_()
    model = nn.Sequential(layer, module.to(DOUBLE))
    with ActivationProbe(model) as probe:
        (loss_of(model(z)) * float(signal)).backward()
    return probe.result()["1"]


class TestDead:
    @pytest.mark.parametrize(
        "module", [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.Hardtanh(), nn.Hardswish(), nn.ELU()]
    )
    def test_by_the_function_also_where_no_signal_arrives(self, module: nn.Module) -> None:
        z = inputs(20, 6) - torch.tensor([0.0, 0.0, 3.0, 30.0, 30.0, -30.0])
        expected = dead_unit_fraction(z, module).item()
        assert 0.0 < expected < 1.0
        assert dead(module, z).dead_fraction == expected
        assert dead(module, z, signal=False).dead_fraction == expected

    def test_a_unit_fed_a_constant_lives(self) -> None:
        assert dead(nn.Tanh(), torch.full((20, 3), 0.2, dtype=DOUBLE)).dead_fraction == 0.0

    def test_many_slopes_are_judged_by_gradients(self) -> None:
        module = nn.PReLU(4)
        with torch.no_grad():
            module.weight.copy_(torch.tensor([0.0, 0.25, 1e-4, 0.25]))
        z = -inputs(20, 4).abs() - 0.1
        z[3, 2] = 1.0
        assert dead(module, z).dead_fraction == 0.25
        record = dead(module, z, signal=False)
        assert math.isnan(record.dead_fraction)
        assert "no gradient came" in (record.dead_reason or "")

    def test_one_slope_is_a_function(self) -> None:
        record = dead(nn.PReLU(), -inputs(20, 4).abs(), signal=False)
        assert (record.dead_fraction, record.dead_reason) == (0.0, None)

    def test_why_there_is_none(self) -> None:
        assert dead(nn.ReLU(), inputs(1, 4)).dead_reason == "one sample can't show whether a unit answers"
        record = dead(nn.ReLU(), inputs(20, 4) * math.inf)
        assert (math.isnan(record.dead_fraction), record.dead_reason) == (True, "its output was not finite")
        with ActivationProbe(nn.Identity(), activations=[torch.cumsum]) as probe:
            torch.cumsum(inputs(20, 4), 0)
        record = probe.result()["root.cumsum"]
        assert math.isnan(record.dead_fraction)
        assert "it mixes elements or is random" in (record.dead_reason or "")


class TestSignal:
    def test_relative_to_the_last(self) -> None:
        model = network()
        with ActivationProbe(model) as probe:
            loss_of(model(inputs(20, 6))).backward()
        _, _, _, at_first = kept(model, inputs(20, 6))
        output = model(inputs(20, 6)).detach().requires_grad_()
        loss_of(output).backward()
        expected = (at_first.square().sum() / 5) / (output.grad.square().sum() / 4)
        assert [record.learning_signal for record in probe.result().values()] == pytest.approx([expected.item(), 1.0])

    def test_channels_and_features(self) -> None:
        conv = nn.Conv2d(2, 3, 3, dtype=DOUBLE)
        model = Model(
            lambda self, x: F.relu(self.head(F.max_pool2d(F.relu(self.conv(x)), 4).flatten(1))),
            conv=conv,
            head=linear(3, 7),
        )
        with ActivationProbe(model) as probe:
            loss_of(model(inputs(10, 2, 6, 6))).backward()
        first, last = probe.result().values()
        assert first.powers.grad_output is not None
        assert last.powers.grad_output is not None
        expected = first.powers.grad_output.sum() / 3 / (last.powers.grad_output.sum() / 7)
        assert first.learning_signal == pytest.approx(expected.item(), rel=1e-12)

    def test_without_a_signal_there_is_none(self) -> None:
        assert math.isnan(dead(nn.Tanh(), inputs(20, 4), signal=False).learning_signal)

    def test_the_former_name_of_the_drop_says_so(self) -> None:
        record = dead(nn.Tanh(), inputs(20, 4))
        with pytest.warns(DeprecationWarning, match="^carnot_bound is called temperature_drop now"):
            assert record.carnot_bound == record.temperature_drop
