"""Quantities of the loss's curvature."""

from __future__ import annotations

from thermo_callbacks.catalog.quantity import Quantity

QUANTITIES = (
    Quantity(
        name="Laplacian",
        tags=("thermo/laplacian",),
        family="thermo_laplacian",
        formula="tr H",
        unit="loss",
        meaning="How curved the loss is, summed over all weights: shake each of them by δ, and the loss rises by "
        "½ δ² tr H. High is a sharp valley, low a flat one. A layer that holds most of it is the first to suffer "
        "from a learning rate that is too high.",
        caution="It depends on how the network is scaled: before BatchNorm or LayerNorm, larger weights read flatter "
        "for the same function. It is an average over past extra passes that favours the recent ones.",
        action="One layer holds most of it and the loss jumps: a lower learning rate for that layer, or a warm-up.",
    ),
    Quantity(
        name="Error of the Laplacian",
        tags=("thermo/laplacian_stderr", "thermo/laplacian_lower", "thermo/laplacian_upper"),
        family="thermo_laplacian_stderr",
        formula="standard error; 95 % interval",
        unit="loss",
        meaning="The true value lies between lower and upper 19 times out of 20. It shrinks as extra passes come in.",
        caution="It covers the random directions that are probed and the batches they are probed on, not a change of "
        "the curvature since the earlier extra passes.",
        action="Take extra passes more often (`curvature_every_n_steps`); for the layers, "
        "`FreeEnergyMonitor(within_layers=True)` probes each by itself.",
    ),
    Quantity(
        name="Rugh temperature",
        tags=("thermo/rugh_temperature", "thermo/rugh_temperature_stderr"),
        family="",
        formula="⟨‖∇U‖²⟩ / tr H",
        unit="loss",
        meaning="The temperature read off slope and curvature alone: how far up the walls of the valley the weights "
        "sit. It equals T in equilibrium where the noise is the same for all weights.",
        caution="With noise that is uneven, as in most networks, it differs from T for good; early in training the "
        "slope of learning makes it too high. No value where the curvature is not clearly above 0.",
        action="A check beside T, nothing to act on by itself.",
    ),
)
