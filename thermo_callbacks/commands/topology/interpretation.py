"""Interpretation of a topology, or of a ranking of topologies, in sentences."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from thermo_callbacks.commands.topology.tables import cell, name_of
from thermo_callbacks.display.text.numbers import percent
from thermo_callbacks.functional.topology import ORDERS, Order, Survey, Topology

_NOT_SAID = (
    "What this does not say: how well the network learns. It knows nothing of data, activations or optimizer. It can "
    "point at a bottleneck or at an expensive layer before training; to choose between a few shapes, train them."
)
_HIGH = {
    "disorder": "Disorder near 1: layers of almost the same width. Low disorder: most neurons sit in one layer, and "
    "the narrow ones beside it are bottlenecks.",
    "efficiency": "Efficiency near 1: the price of a nat, connections paid for more entropy, differs greatly between "
    "layers, as where wide layers meet narrow ones. Near 0: all layers have one price, and moving neurons gains "
    "little.",
    "stability": "High stability: the free energy resists moves of neurons. A high price and few neurons make it, so "
    "narrow layers beside wide ones come out on top: read it together with the disorder. Negative: between two "
    "neighbouring layers every neuron moved makes it more worth while to move the next.",
}


def read_topology(topology: Topology, peers: Survey | None = None) -> list[str]:
    """Interpret a topology's quantities.

    Returns:
        The sentences, one paragraph each.

    Example:
        >>> from thermo_callbacks.functional.topology import analyse
        >>> read_topology(analyse((4, 3, 3, 2)))[1]
        'Spread: the 6 hidden neurons lie as evenly over 2 layers as they can (disorder 1).'
    """
    size = (
        f"Size: {topology.connections:,} connections, {topology.parameters:,} parameters with biases, where all layers "
        "are fully connected."
    )
    if not topology.hidden:
        return [size, "There is no hidden layer, so there are no neurons to spread: all else has no value."]
    if len(topology.hidden) == 1:
        more = topology.additions[0].connections
        return [
            size,
            f"There is one hidden layer, so its neurons can be spread in one way only: all else has no value. One "
            f"neuron more takes {more:,} connections.",
            _NOT_SAID,
        ]
    own = [size, _spread(topology), _prices(topology), _moves(topology), _bend(topology)]
    return [*own, *_others(peers), _equals(topology), _NOT_SAID]


def announce_ranking(survey: Survey, seed: int) -> str:
    """Describe how many topologies there are, and which of them were analysed."""
    shell = survey.shell
    energy = f"{shell.connections:,} connections" + (f" within {percent(shell.tolerance)}" if shell.tolerance else "")
    layers = f"{shell.depth} hidden layer{'s' * (shell.depth > 1)}"
    start = f"{energy}, {layers}, {shell.n_in:,} inputs, {shell.n_out:,} outputs:"
    count = len(survey.widths)
    if survey.drawn is None:
        return f"{start} {count:,} topolog{'ies' if count > 1 else 'y'}, all of them listed.\n"
    return (
        f"{start} about {_rounded(survey.size, survey.size_error)} topologies, too many to list. {survey.drawn:,} were "
        f"drawn at random, each topology as probable as any other (seed {seed}); {count:,} of them differ. Ranks count "
        f"among these. There are higher ones that were not drawn, but the first is in the highest "
        f"{_share(3.0 / survey.drawn)} of all, with 95 % probability.\n"
    )


def read_ranking(survey: Survey, by: Order) -> list[str]:
    """Interpret a ranking in sentences, one paragraph each."""
    if survey.shell.depth == 1:
        return ["With one hidden layer there is nothing to rank: its neurons can be spread in one way only.", _NOT_SAID]
    others = [name for name in ORDERS if name != by]
    return [_HIGH[by], *_relations(survey, by, others), _stable(survey), _NOT_SAID]


def _spread(topology: Topology) -> str:
    hidden, neurons, layers = topology.hidden, f"{topology.neurons:,}", len(topology.hidden)
    if max(hidden) - min(hidden) <= 1:
        return f"Spread: the {neurons} hidden neurons lie as evenly over {layers} layers as they can (disorder 1)."
    narrow = min(range(layers), key=hidden.__getitem__)
    return (
        f"Spread: the {neurons} hidden neurons lie unevenly over {layers} layers, with {topology.disorder:.3g} of the "
        f"entropy of an even spread. Hidden layer {narrow + 1} is the narrowest, with {hidden[narrow]:,}. Layers of "
        f"one width would have about {_even_width(topology):,.0f} neurons each at the same number of connections."
    )


def _even_width(topology: Topology) -> float:
    """The width w that solves (n_0 + n_{k+1}) w + (k - 1) w^2 = E."""
    ends, squares = topology.widths[0] + topology.widths[-1], len(topology.hidden) - 1
    return (math.sqrt(ends**2 + 4 * squares * topology.connections) - ends) / (2 * squares)


def _prices(topology: Topology) -> str:
    cheap = min(topology.additions, key=lambda each: each.connections)
    prices = topology.temperatures
    cold, hot = min(range(len(prices)), key=prices.__getitem__), max(range(len(prices)), key=prices.__getitem__)
    low, high = (cell("temperature", prices[layer]) for layer in (cold, hot))
    return (
        f"Prices: one neuron more takes fewest connections in hidden layer {cheap.layer}: {cheap.connections:,}. A nat "
        f"of entropy is cheapest in layer {cold + 1}, {low} connections, and most expensive in layer "
        f"{hot + 1}, {high}: that is the efficiency of {topology.efficiency:.3g}."
    )


def _moves(topology: Topology) -> str:
    if not topology.moves:
        return "Moves: every layer has one neuron, none can move."
    best = min(topology.moves, key=lambda each: each.free_energy)
    way = f"one neuron from hidden layer {best.source} to {best.target}"
    effect = (
        f"{abs(best.connections):,} connections {'fewer' if best.connections < 0 else 'more'} and "
        f"{abs(best.entropy):.2g} nats {'less' if best.entropy < 0 else 'more'} entropy"
    )
    if topology.stable:
        return f"Moves: every move of one neuron raises the free energy, {way} the least ({effect}): a stable shape."
    return (
        f"Moves: to move {way} lowers the free energy most: {effect}. So the shape is not stable, which in wide "
        "layers takes nearly one price."
    )


def _bend(topology: Topology) -> str:
    if math.isnan(topology.stability):
        return "Stability has no value: fewer than two layers can spare a neuron."
    if topology.stability > 0.0:
        return "Stability is positive: moving a neuron one way and another back never gains from both ways."
    return (
        "Stability is negative: between two neighbouring layers the free energy bends downwards, so that every neuron "
        "moved makes it more worth while to move the next."
    )


def _others(peers: Survey | None) -> list[str]:
    if peers is None or not len(peers.widths):
        return []
    even, uneven = (peers.widths[peers.ranked(order)] for order in ("disorder", "efficiency"))
    whole = "All" if peers.drawn is None else "Some of the"
    return [
        f"Others of its size: {whole} shapes with the same ends and depth, and connections within "
        f"{percent(peers.shell.tolerance)}, were looked at, {len(peers.widths):,} of them. The most even spread is "
        f"{name_of(even[0])}; prices are closest to each other in {name_of(uneven[-1])}."
    ]


def _equals(topology: Topology) -> str:
    first, last = topology.widths[0], topology.widths[-1]
    return (
        "To rank all shapes of its size: thermo-callbacks topology "
        f"--budget {topology.connections} --depth {len(topology.hidden)} --in {first} --out {last} --tolerance 0.01"
    )


def _relations(survey: Survey, by: Order, others: list[Order]) -> list[str]:
    """How the orders go together, by Spearman's rank correlation."""
    found = []
    first = getattr(survey.quantities, by)
    for name in others:
        second = getattr(survey.quantities, name)
        both = ~(np.isnan(first) | np.isnan(second))
        if both.sum() > 2 and len(set(first[both])) > 1 and len(set(second[both])) > 1:
            found.append(f"{stats.spearmanr(first[both], second[both]).statistic:+.2f} with {name}")
    if not found:
        return []
    return [
        f"Over these {len(survey.widths):,} topologies, {by} has a rank correlation of {' and '.join(found)} (1: the "
        "same order, -1: the opposite one, 0: unrelated)."
    ]


def _stable(survey: Survey) -> str:
    count = len(survey.widths)
    if count == 1:
        return "It is the only shape; --tolerance 0.01 gives more to choose from."
    stable, bent = (
        int(each.sum()) for each in (survey.quantities.lowest_move > 0.0, survey.quantities.stability < 0.0)
    )
    return (
        f"Of these {count:,}, {stable:,} {'is' if stable == 1 else 'are'} stable in the strict sense, that every "
        f"single move of a neuron raises the free energy, and {bent:,} {'has' if bent == 1 else 'have'} a negative "
        "stability."
    )


def _rounded(size: float, error: float) -> str:
    if size >= 1e9:
        return f"{size:.1e} (standard error {error:.0e})"
    digits = max(0, math.floor(math.log10(error))) if error >= 1.0 else 0
    return f"{round(size, -digits):,.0f} (standard error {error:,.0f})"


def _share(share: float) -> str:
    return f"{100.0 * share:.2g} %"
