"""Quantities of the moving weights: temperatures, equilibrium, noise, energy."""

from __future__ import annotations

from thermo_callbacks.catalog.quantity import Quantity

QUANTITIES = (
    Quantity(
        name="Temperature T",
        tags=("thermo/temperature",),
        family="thermo_temperature",
        formula="T = -Σ Cov(D, g) / (2 n (1 - μ))",
        unit="loss",
        meaning="How hard the noise of the gradient shakes the weights. Hot weights explore, cold ones settle. It "
        "falls when the learning rate falls or the batch grows. The run's value is the mean over all "
        "weights, so large layers count more.",
        caution="While the loss drops steeply within a window, the drop counts as noise and T reads too high. A "
        "value below zero is zero within its error.",
        action="Too hot late in training: lower the learning rate or take larger batches; T follows both in "
        "proportion. One layer far above the others: give it a lower learning rate of its own.",
    ),
    Quantity(
        name="Error of T",
        tags=("thermo/temperature_stderr", "thermo/temperature_lower", "thermo/temperature_upper"),
        family="thermo_temperature_stderr",
        formula="standard error; 95 % interval",
        unit="loss",
        meaning="The true value lies between lower and upper 19 times out of 20. A change of T inside the band "
        "may be chance.",
        caution="If the noise of one step carries over to the next (samples in a fixed order), the band is too narrow.",
        action="Take a longer `window`: the error falls with its square root. Shuffle the data.",
    ),
    Quantity(
        name="Virial temperature",
        tags=("thermo/virial_temperature", "thermo/virial_temperature_stderr"),
        family="",
        formula="Σ Cov(q, g) / n",
        unit="loss",
        meaning="The same temperature read off how far the weights swing. It equals T in thermal equilibrium: a gap "
        "beyond the errors says that the run is not there.",
        caution="Agreement proves nothing: in a window shorter than the swing of the weights, plain SGD makes it "
        "follow T wherever it is. Weights that drift make it anything, also negative.",
        action="Where it differs from T, train on before you read what holds in equilibrium only: the Rugh "
        "temperature, or a balance of the entropy.",
    ),
    Quantity(
        name="Einstein temperature",
        tags=("thermo/einstein_temperature", "thermo/einstein_temperature_stderr"),
        family="",
        formula="Σ Var(D) / (2 Σ m)",
        unit="loss",
        meaning="The same temperature read off how far each step jumps. It equals T for ordinary optimizers; "
        "above T, the optimizer adds noise of its own (Langevin dynamics).",
        caution="It has no value for optimizers whose mobility m is unknown, nor with Nesterov momentum.",
        action="Where it is above T and you add no noise on purpose, look for what else moves the weights.",
    ),
    Quantity(
        name="Equilibrium ratio R",
        tags=("thermo/equilibrium_ratio", "thermo/equilibrium_ratio_stderr", "thermo/equilibrium_reference"),
        family="thermo_equilibrium_ratio",
        formula="R = -2 ⟨q·D⟩ / ⟨D·D⟩",
        unit="none",
        meaning="At 1 the size of the weights stands still, as it must in equilibrium. Below 1 they grow, above 1 "
        "they shrink. The reference is the line at 1.",
        caution="Large weights that move little make a short window scatter widely: look at the error. A layer "
        "right before BatchNorm or LayerNorm never gets to 1 without weight decay. And 1 alone "
        "proves no equilibrium: the loss has to stand still too.",
        action="At 1 with a loss that stands still: lower the learning rate, or stop. Far from 1: train on.",
    ),
    Quantity(
        name="Noise scale",
        tags=("thermo/noise_scale",),
        family="thermo_noise_scale",
        formula="B tr Σ / ‖E g‖²",
        unit="samples",
        meaning="Batch size at which signal and noise of the gradient are equal. If your batch is far smaller, a "
        "larger one speeds up every step; if it is far larger, a still larger one buys next to nothing.",
        caution="Late in training the signal drowns in noise: the scale shoots up or has no value. Read its order "
        "of magnitude only.",
        action="Batch far below it: larger batches, with a learning rate to match. Batch far above it: smaller "
        "batches do as well for less.",
    ),
    Quantity(
        name="Signal share",
        tags=("thermo/signal_share",),
        family="thermo_signal_share",
        formula="‖E g‖² / E ‖g‖²",
        unit="none",
        meaning="Part of a step's effort that follows the true slope, from 0 to 1; the rest follows noise. Near 0 "
        "the batches pull in all directions.",
        caution="Near 0 it scatters by one over the steps of a window, also below 0.",
        action="Near 0 in all layers: larger batches, or a lower learning rate, so that more steps average the noise "
        "away.",
    ),
    Quantity(
        name="Internal energy U",
        tags=("thermo/internal_energy",),
        family="",
        formula="U = E L",
        unit="loss",
        meaning="Mean training loss of the window.",
        caution="It holds all that the training step returns, penalties included.",
        action="Read it beside the heat and the free energy, which start from it.",
    ),
    Quantity(
        name="Heat Q",
        tags=("thermo/heat",),
        family="thermo_heat",
        formula="Q = g·D, summed over all steps",
        unit="loss",
        meaning="How much the moves of the weights have changed the loss since the start, each move on its own "
        "batch. Negative: it went down. The layer with the most negative heat took most off the loss.",
        caution="Fitting the noise of each batch counts too, so Q goes on falling when U stands still. At high "
        "learning rates steps overshoot, which Q doesn't see.",
        action="A layer whose heat stays near 0 takes no part in the learning: look at its learning rate and whether "
        "a gradient arrives, or freeze it.",
    ),
    Quantity(
        name="First-law residual",
        tags=("thermo/first_law_residual",),
        family="",
        formula="(U - U at the start) - Q",
        unit="loss",
        meaning="What the heat doesn't explain of the change of the loss: fresh batches that undo the fit of "
        "earlier ones, and overshooting. Near 0 the energy balance closes.",
        caution="With small batches it is far from 0, and that is no fault; a sudden jump is worth a look.",
        action="Large although the batches are large: the steps overshoot, lower the learning rate.",
    ),
    Quantity(
        name="Skipped steps",
        tags=("thermo/skipped_steps",),
        family="",
        formula="count",
        unit="steps",
        meaning="Steps that the optimizer did not make, after an overflow in 16-bit training for example. No "
        "other number includes them.",
        caution="A few at the start of 16-bit training are normal; if the count keeps growing, the run is in trouble.",
        action="If the count keeps growing: lower the learning rate, or train in bf16.",
    ),
)
