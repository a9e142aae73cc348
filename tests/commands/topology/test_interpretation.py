"""What is said of topologies: each sentence holds the numbers it should, and none claims more."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from thermo_callbacks.commands.topology.interpretation import announce_ranking, read_ranking, read_topology
from thermo_callbacks.functional.topology import Shell, analyse, survey


def said(widths, peers=None):
    return {text.partition(" ")[0]: text for text in read_topology(analyse(widths), peers)}


def test_sizes():
    assert said((784, 512, 512, 10))["Size:"] == (
        "Size: 668,672 connections, 669,706 parameters with biases, where all layers are fully connected."
    )


def test_even_and_uneven_spreads():
    assert said((784, 512, 512, 10))["Spread:"] == (
        "Spread: the 1,024 hidden neurons lie as evenly over 2 layers as they can (disorder 1)."
    )
    assert said((784, 512, 511, 10))["Spread:"].endswith("(disorder 1).")
    text = said((784, 128, 64, 32, 10))["Spread:"]
    assert "0.868 of the entropy" in text
    assert "Hidden layer 3 is the narrowest, with 32." in text


@pytest.mark.parametrize("widths", [(784, 128, 64, 32, 10), (4, 40, 2), (9, 100, 1, 3), (5, 30, 2, 30, 2, 7)])
def test_layers_of_one_width_have_the_same_connections(widths):
    if len(widths) < 4:
        assert len(read_topology(analyse(widths))) == 3
        return
    one = analyse(widths)
    text = said(widths)["Spread:"]
    width = float(text.partition("about ")[2].partition(" ")[0].replace(",", ""))
    numbers = [
        analyse((one.widths[0], *[max(1, round(width) + step)] * len(one.hidden), one.widths[-1])).connections
        for step in (-1, 0, 1)
    ]
    assert min(numbers, key=lambda number: abs(number - one.connections)) == numbers[1]


def test_prices():
    assert said((784, 512, 512, 10))["Prices:"] == (
        "Prices: one neuron more takes fewest connections in hidden layer 2: 522. A nat of entropy is cheapest in "
        "layer 2, 754 connections, and most expensive in layer 1, 1,872: that is the efficiency of 0.597."
    )


def test_moves():
    assert (
        "one neuron from hidden layer 1 to 2 lowers the free energy most: 775 connections fewer and 0.002 nats less"
        in (said((784, 512, 512, 10))["Moves:"])
    )
    assert said((4, 3, 3, 2))["Moves:"] == (
        "Moves: every move of one neuron raises the free energy, one neuron from hidden layer 1 to 2 the least "
        "(3 connections fewer and 0.29 nats less entropy): a stable shape."
    )
    assert said((4, 1, 1, 2))["Moves:"] == "Moves: every layer has one neuron, none can move."
    assert "nats more entropy" in said((784, 128, 64, 32, 10))["Moves:"]


def test_signs_of_the_stability():
    def sentence(widths):
        return next(text for text in read_topology(analyse(widths)) if text.startswith("Stability"))

    assert sentence((784, 512, 512, 10)).startswith("Stability is positive")
    assert sentence((1, 40, 40, 1, 1, 1, 1, 1)).startswith("Stability is negative")
    assert sentence((4, 1, 1, 2)).startswith("Stability has no value")


def test_others_of_its_size():
    peers = survey(Shell(784, 10, 2, 100_000, 0.01))
    text = said((784, 110, 115, 10), peers)["Others"]
    disorder, efficiency = (getattr(peers.quantities, name) for name in ("disorder", "efficiency"))
    for row in (disorder.argmax(), efficiency.argmin()):
        assert "-".join(map(str, peers.widths[row])) in text
    assert text.startswith("Others of its size: All shapes")
    assert f"within 1.0 %, were looked at, {len(peers.widths):,} of them" in text
    assert "Others of its size: Some of the shapes" in said((784, 110, 115, 10), replace(peers, drawn=5))["Others"]


def test_the_command_for_its_size():
    assert said((784, 128, 64, 10))["To"].endswith("--budget 109184 --depth 2 --in 784 --out 10 --tolerance 0.01")


@pytest.mark.parametrize("widths", [(784, 512, 512, 10), (784, 30, 10)])
def test_says_what_it_does_not_say(widths):
    assert read_topology(analyse(widths))[-1].startswith("What this does not say: how well the network learns.")


def test_no_hidden_layer():
    assert read_topology(analyse((784, 10)))[-1] == (
        "There is no hidden layer, so there are no neurons to spread: all else has no value."
    )


def test_announcement_of_a_list():
    found = survey(Shell(784, 10, 2, 10**6))
    assert announce_ranking(found, 0) == (
        "1,000,000 connections, 2 hidden layers, 784 inputs, 10 outputs: 6 topologies, all of them listed.\n"
    )
    one = survey(Shell(784, 10, 1, 79_400))
    assert announce_ranking(one, 0).endswith(
        "1 hidden layer, 784 inputs, 10 outputs: 1 topology, all of them listed.\n"
    )


@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        (23_131_452.5, 476_455.9, "23,100,000 (standard error 476,456)"),
        (1_234.4, 0.2, "1,234 (standard error 0)"),
        (1.0796e10, 2.27e8, "1.1e+10 (standard error 2e+08)"),
    ],
)
def test_announcement_of_a_sample(size, error, text):
    found = replace(survey(Shell(4, 2, 3, 120)), drawn=10_000, size=size, size_error=error)
    announcement = announce_ranking(found, 3)
    assert f"about {text} topologies, too many to list. 10,000 were drawn" in announcement
    assert "(seed 3)" in announcement
    assert "in the highest 0.03 % of all" in announcement


@pytest.mark.parametrize("by", ["disorder", "efficiency", "stability"])
def test_rank_correlations(by):
    found = survey(Shell(4, 2, 3, 120))
    text = read_ranking(found, by)[1]
    for name in ("disorder", "efficiency", "stability"):
        values = [getattr(found.quantities, each) for each in (by, name)]
        both = ~np.isnan(values[0]) & ~np.isnan(values[1])
        expected = f"{stats.spearmanr(values[0][both], values[1][both]).statistic:+.2f} with {name}"
        assert (expected in text) is (name != by)


def test_counts_of_stable_topologies():
    found = survey(Shell(4, 2, 2, 27, 0.5))
    each = [analyse(widths) for widths in found.widths.tolist()]
    stable = sum(one.stable is True for one in each)
    negative = sum(one.stability < 0.0 for one in each)
    assert stable > 0
    text = read_ranking(found, "disorder")[2]
    assert text.startswith(
        f"Of these {len(each)}, {stable} {'is' if stable == 1 else 'are'} stable in the strict sense"
    )
    assert f"and {negative} ha" in text


def test_rankings_that_have_nothing_to_compare():
    assert "nothing to rank" in read_ranking(survey(Shell(784, 10, 1, 79_400)), "disorder")[0]
    single = read_ranking(survey(Shell(784, 10, 2, 1_000_003)), "disorder")
    assert "It is the only shape" in single[1]
    assert not any("correlation" in text for text in single)


def test_no_value_is_said_as_nan():
    for by in ("disorder", "efficiency", "stability"):
        for shell in (Shell(4, 2, 2, 9, 0.3), Shell(4, 2, 3, 120), Shell(1, 1, 2, 3)):
            found = survey(shell)
            assert not any("nan" in text.split() for text in read_ranking(found, by))
    assert not any(math.isnan(found.size) for found in [survey(Shell(1, 1, 2, 3))])
