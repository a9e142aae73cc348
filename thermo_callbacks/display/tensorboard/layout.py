"""Layout of TensorBoard's Custom Scalars page: charts that answer questions."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

EQUILIBRIUM_REFERENCE_TAG = "thermo/equilibrium_reference"

Layout = dict[str, dict[str, list[str | list[str]]]]


class _Chart(NamedTuple):
    title: str
    tags: tuple[str, ...] = ()
    families: tuple[str, ...] = ()  # of layers, activations or types of them
    least: int = 1  # how many of the tags it takes to make a chart, where no family does
    reference: str = ""  # a tag that never makes a chart by itself
    kind: str = "Multiline"


# TensorBoard draws the lines of a category before its bands, whatever their order here
_QUESTIONS: dict[str, tuple[_Chart, ...]] = {
    "Is the run in equilibrium?": (
        _Chart(
            "Equilibrium ratio of the run: 1 if it is",
            ("thermo/equilibrium_ratio",),
            reference=EQUILIBRIUM_REFERENCE_TAG,
        ),
        # not with the run's: one layer far out would press the run and the line at 1 into one
        _Chart(
            "Equilibrium ratio by layer", families=("thermo_equilibrium_ratio",), reference=EQUILIBRIUM_REFERENCE_TAG
        ),
        _Chart(
            "Thermometers: far apart means no",
            ("thermo/temperature", "thermo/virial_temperature", "thermo/einstein_temperature"),
            least=2,
        ),
    ),
    "How hot is the run, and which layer is hottest?": (
        _Chart(
            "Temperature of the run, 95 % band",
            ("thermo/temperature", "thermo/temperature_lower", "thermo/temperature_upper"),
            least=3,
            kind="Margin",
        ),
        _Chart("Temperature by layer", families=("thermo_temperature",)),
    ),
    "Where does the loss go, and which layer lowers it?": (
        _Chart(
            "Energy balance: loss, heat, residual",
            ("thermo/internal_energy", "thermo/heat", "thermo/first_law_residual"),
        ),
        _Chart("Heat by layer: the lowest removed most", families=("thermo_heat",)),
    ),
    "Where does the entropy go?": (
        _Chart("Entropy of the weights: it falls while they learn", ("thermo/entropy",)),
        _Chart(
            "Destruction against production: equal in equilibrium",
            ("thermo/entropy_destruction", "thermo/entropy_production", "thermo/entropy_production_floor"),
        ),
        _Chart("Second law: rate in standard errors, sure beyond ±2", ("thermo/second_law_score",)),
        _Chart("Entropy destruction by layer", families=("thermo_entropy_destruction",)),
    ),
    "Which activation wastes work?": (
        _Chart(
            "Work efficiency: share of the signal passed on",
            ("thermo/work_efficiency", "thermo/work_efficiency_product"),
            families=("thermo_work_efficiency",),
        ),
        _Chart("Learning efficiency: share of the gradient let back", families=("thermo_learning_efficiency",)),
        _Chart("Engines: work efficiency by type", families=("thermo_engine",)),
        _Chart("Dead units: share that never changes", families=("thermo_dead_fraction",)),
    ),
    "How curved is the loss, and in which layer?": (
        _Chart(
            "Laplacian of the loss, 95 % band",
            ("thermo/laplacian", "thermo/laplacian_lower", "thermo/laplacian_upper"),
            least=3,
            kind="Margin",
        ),
        _Chart("Laplacian by layer", families=("thermo_laplacian",)),
        _Chart(
            "Temperature from curvature, beside the kinetic one",
            ("thermo/rugh_temperature", "thermo/temperature"),
            least=2,
        ),
    ),
    "Signal or noise: is the batch large enough?": (
        _Chart("Noise scale: samples where they are equal", ("thermo/noise_scale",), families=("thermo_noise_scale",)),
        _Chart("Signal share of a step", ("thermo/signal_share",), families=("thermo_signal_share",)),
    ),
    "What is the free energy made of, and what does a nat cost?": (
        _Chart(
            "Free energy F = U - TS",
            ("thermo/free_energy", "thermo/internal_energy", "thermo/bound_energy"),
            least=3,
        ),
        _Chart("Loss given up per nat of the weights, since the start", ("thermo/transition_temperature",)),
        _Chart(
            "Loss per nat of the outputs: 1 if calibrated",
            ("thermo/transition_temperature_outputs", "thermo/transition_temperature_shift"),
        ),
    ),
    "The neurons as a gas: how stiff, and how agitated?": (
        _Chart("Complexity: how stiffly the neurons are tied", ("thermo/complexity",)),
        _Chart("Loss in the bulk and at the boundary", ("thermo/bulk_loss", "thermo/boundary_loss")),
        _Chart(
            "Temperatures of the neurons and of the weights",
            ("thermo/equipartition_temperature", "thermo/temperature"),
            least=2,
        ),
        _Chart(
            "Laplacian of the loss, and with the complexity's",
            ("thermo/total_laplacian", "thermo/laplacian"),
            least=2,
        ),
    ),
}


def custom_scalar_layout(tags: Collection[str], *, prefix: str = "") -> Layout:
    """Layout of the Custom Scalars page, by the questions that a person asks.

    All layers share a chart by one pattern a quantity, so the layout has the same size for 4 and for 400 layers, takes
    in layers that show up later, and two runs with different models share their charts; likewise the activations. A
    chart appears when one of its tags is in ``tags``, one that compares when those are that it can't do without, and
    it always asks for all its tags: what is logged later finds its place, and TensorBoard takes equal charts of two
    runs for one. Error bands need their three, logged at the same steps (NaN where an end has no value), or
    TensorBoard refuses to draw them. The charts of the equilibrium ratio ask for the line at 1 as well.

    TensorBoard keeps only the last layout of a run. To add charts of your own, write them together with these:
    ``writer.add_custom_scalars({**yours, **custom_scalar_layout(tags)})``.

    Args:
        tags: Tags that the run logs, those of single layers included (``thermo_temperature/<layer>``).
        prefix: What the logger puts before every tag.

    Returns:
        Question to chart title to ``[kind, tags]``, for ``SummaryWriter.add_custom_scalars``; empty if no tag is known.

    Example:
        >>> custom_scalar_layout({"thermo_heat/net.0"})
        {'Where does the loss go, and which layer lowers it?':
         {'Heat by layer: the lowest removed most': ['Multiline', ['thermo_heat/.+$']]}}
    """
    families = {tag.partition("/")[0] for tag in tags if "/" in tag}
    layout: Layout = {}
    for question, charts in _QUESTIONS.items():
        drawn = {chart.title: _content(chart, prefix) for chart in charts if _appears(chart, tags, families)}
        if drawn:
            layout[question] = drawn
    return layout


def _appears(chart: _Chart, tags: Collection[str], families: Collection[str]) -> bool:
    logged = sum(tag in tags for tag in chart.tags)
    return logged >= chart.least or any(family in families for family in chart.families)


def _content(chart: _Chart, prefix: str) -> list[str | list[str]]:
    if chart.kind == "Margin":  # its tags are names; those of lines are patterns
        return [chart.kind, [prefix + tag for tag in chart.tags]]
    # TensorBoard matches a pattern at the start of a tag only: its end must be said
    names = (*chart.tags, *filter(None, [chart.reference]))
    patterns = [re.escape(prefix + tag) + "$" for tag in names]
    patterns += [re.escape(f"{prefix}{family}/") + ".+$" for family in chart.families]
    return [chart.kind, patterns]
