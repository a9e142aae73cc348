"""The benchmark of the critical batch runs and prints its tables; that rates are tuned and steps counted is tested."""

from __future__ import annotations

import math
from functools import partial

import critical_batch
import pytest
import torch
from torch import nn
from torch.optim import SGD


@pytest.fixture(scope="module")
def example():
    return critical_batch.load_example()


@pytest.fixture
def slope(example):
    """A loss that falls by the same factor each step: ln(1 + exp(-x)) of a bias, which no batch changes."""
    data = lambda: (torch.zeros(50, 1), torch.zeros(50, dtype=torch.long))  # noqa: E731

    def network():
        net = nn.Linear(1, 2)
        nn.init.zeros_(net.weight)
        nn.init.zeros_(net.bias)
        return net

    return example.Problem(data, network, SGD, 0.1, 0.3)


def exact_steps(rate: float) -> float:
    """Of gradient descent on ln(1 + exp(-2 b)) with biases b and -b, interpolated as the example does."""
    bias, loss, step = 0.0, math.log(2.0), 0
    while loss > 0.3:
        before = loss
        bias += rate / (1.0 + math.exp(2.0 * bias))
        loss, step = math.log1p(math.exp(-2.0 * bias)), step + 1
    return step - 1 + math.log(before / 0.3) / math.log(before / loss)


@pytest.mark.parametrize(("rate", "error"), [(0.2, 1e-4), (0.02, 0.01)])  # the second is interpolated over some steps
def test_steps_to_a_target_are_those_of_the_exact_descent(example, slope, rate, error):
    assert example.steps_to_target(slope, 10, rate, 0) == pytest.approx(exact_steps(rate), rel=error)
    assert example.steps_to_target(slope, 10, rate, 0, most=3) == math.inf


def test_the_tuned_rate_is_within_a_root_of_two_of_the_fastest(example, monkeypatch):
    monkeypatch.setattr(
        example, "steps_to_target", lambda problem, batch, rate, seed, most: 100.0 * (1.0 + math.log(rate / 0.3) ** 2)
    )
    for start in (0.01, 0.25, 7.0):
        rate = example.tuned_rate(None, 8, start, (0,))
        assert 0.3 / 2**0.5 <= rate <= 0.3 * 2**0.5


def test_a_rate_that_does_not_train_is_halved_until_it_does(example, monkeypatch):
    monkeypatch.setattr(
        example, "steps_to_target", lambda problem, batch, rate, seed, most: 10.0 / rate if rate < 0.1 else math.inf
    )
    assert 0.05 < example.tuned_rate(None, 8, 3.0, (0,)) < 0.1


def test_exact_shares_are_those_of_a_known_scatter(example):
    """A bias whose gradient is +1 or -1 beside the same signal for all: sigmoid halves, labels in the ratio 3 to 1."""
    labels = (torch.arange(4000) % 4 > 0).long()
    frozen = partial(SGD, lr=0.0)

    def network():
        net = nn.Linear(1, 2, bias=True)
        nn.init.zeros_(net.weight)
        nn.init.zeros_(net.bias)
        return net

    problem = example.Problem(lambda: (torch.zeros(4000, 1), labels), network, lambda p, lr: frozen(p), 0.0, 0.0)
    run = example.Measured(12, 0.0, [50.0])
    shares = critical_batch.exact_shares(example, problem, run, 0)
    assert len(shares) == 25
    # of each logit: signal (1/4)^2, power (1/2)^2, so noise 3/16 a sample
    assert shares == pytest.approx([(1 / 16) / (1 / 16 + 3 / 16 / 12)] * 25, rel=1e-5)


def test_the_plain_mean_has_no_upper_end_where_many_windows_have_none():
    logged = {"noise_scale": [10.0, 30.0], "noise_scale_lower": [5.0, 7.0], "noise_scale_upper": [50.0, math.nan]}
    assert critical_batch.plain_mean([logged]) == "20 [6, none]"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_both_tables_are_printed(capsys, monkeypatch):
    module = critical_batch.load_example()
    module.SIZES, module.TUNING_SEEDS = (16, 64, 256), (101,)
    module.PROBLEMS["MNIST, SGD"] = module.PROBLEMS["MNIST, SGD"]._replace(target=0.5)
    monkeypatch.setattr(critical_batch, "load_example", lambda: module)
    monkeypatch.setattr(critical_batch, "LONG_ENOUGH", 60)
    critical_batch.main(["--problems", "MNIST, SGD", "--seeds", "2"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines() if line]
    steps = [float(cell.split()[0]) for cell in rows[2][1:4]]
    assert steps == sorted(steps, reverse=True)
    header, _, first, *_ = rows[3:]
    assert header[3] == "noise scale of the run"
    assert first[:2] == ["MNIST, SGD", "16"]
    assert 0.2 < float(first[4]) < 5.0
    assert 10.0 < float(first[5]) < 300.0
