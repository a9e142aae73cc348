"""Quantities of single steps: signal and noise of a gradient at one point, and what a step makes of its promise."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, LIGHT, STANDARD, LayerColumn, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Noise scale",
        tags=("thermo/noise_scale",),
        family="thermo_noise_scale",
        unit="samples",
        formula="B (1 - share) / share, where share is the signal share",
        summary="critical batch size",
        meaning="Batch size at which signal and noise of the gradient are equal. If your batch is far smaller, a "
        "larger one speeds up every step; if it is far larger, a still larger one buys next to nothing.",
        caution="It is known within its band only, and late in training often from below only. Preset light knows it "
        "where batches are accumulated. A data set can't tell scales beyond its own size.",
        action="Batch far below the lower end: larger batches, with a learning rate to match. Batch far above the "
        "upper end: smaller batches do as well for less.",
        missing="the batches don't tell how many samples they hold: give batch_size",
        needs=("batch size",),
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(
                questions.BATCH,
                "Gradient noise scale [samples], 95 % band: compare your batch size",
                ("thermo/noise_scale", "thermo/noise_scale_lower", "thermo/noise_scale_upper"),
                least=3,
                band=True,
            ),
            ScalarChart(questions.LAYERS, "Gradient noise scale by layer [samples]", ("thermo_noise_scale",), place=5),
        ),
        column=LayerColumn("layers", 50, "noise\nscale\n[samples]", 2),
        lines=(RunLine(40),),
        key_number=40,
    ),
    Quantity(
        name="Lower bound of the noise scale",
        tags=("thermo/noise_scale_lower",),
        family="thermo_noise_scale_lower",
        unit="samples",
        formula="lower end of the 95 % interval",
        summary="the lower end of its 95 % interval",
        meaning="The true scale lies above it 39 times out of 40.",
        caution="It covers the sampling of batches, not a change within the windows that the mean is taken over.",
        action="A batch far below it: a larger one pays.",
        missing="the batches don't tell how many samples they hold: give batch_size",
        needs=("batch size",),
        when="window",
        logged_by=LIGHT,
        family_logged_by=FULL,
    ),
    Quantity(
        name="Upper bound of the noise scale",
        tags=("thermo/noise_scale_upper",),
        family="thermo_noise_scale_upper",
        unit="samples",
        formula="upper end of the 95 % interval",
        summary="the upper end of its 95 % interval",
        meaning="The true scale lies below it 39 times out of 40. Where there is none (NaN), the signal does not "
        "stand out: the scale is at least the lower bound.",
        caution="It covers the sampling of batches, not a change within the windows that the mean is taken over.",
        action="A batch far above it: a still larger one buys next to nothing.",
        missing="the signal may be zero, so that there is no upper end; or the batches don't tell how many samples "
        "they hold: give batch_size",
        needs=("batch size",),
        when="window",
        logged_by=LIGHT,
        family_logged_by=FULL,
    ),
    Quantity(
        name="Signal share",
        tags=("thermo/signal_share", "thermo/signal_share_stderr"),
        family="thermo_signal_share",
        unit="none",
        formula="2 ⟨g·g₊⟩ / ⟨g·g + g₊·g₊⟩ - κ, where κ is what the step itself adds, (g(q + D) - g(q))·g₋ / g₋·g₋",
        summary="part of the gradient's power that is signal",
        meaning="Part of a gradient that follows the true slope, from 0 to 1; the rest is the noise of the batch. "
        "Near 0 the batches pull in all directions.",
        caution="Near 0 it scatters, also below 0: look at the error.",
        action="Near 0 in all layers: larger batches, or a lower learning rate, so that more steps average the noise "
        "out.",
        missing="no step of the window had a gradient",
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(
                questions.BATCH, "Signal in a gradient [share]: 1/2 at the noise scale", ("thermo/signal_share",)
            ),
            ScalarChart(
                questions.LAYERS,
                "Signal in a gradient, by layer [share]",
                ("thermo_signal_share", "thermo/signal_share"),
                place=5,
            ),
        ),
    ),
    Quantity(
        name="Temperature of the gradient noise",
        tags=("thermo/noise_temperature", "thermo/noise_temperature_stderr"),
        unit="loss",
        formula="T (1 - share) ⟨g·g⟩ / Σ Var(g), where share is the signal share, layer by layer",
        summary="kinetic temperature of the noise alone, without the slope that turns within a window",
        meaning="The kinetic temperature with the noise taken at one point: what T reads too high while the loss drops "
        "steeply is missing here.",
        caution="As uncertain as T and the signal share together. Only where all weights move equally far per unit of "
        "gradient and at once (SGD without momentum): with momentum T is taken from step to step, which leaves the "
        "slope out.",
        action="Where T is above it beyond the errors, T still holds the slope: believe this one.",
        missing="too few steps of the window had a finite gradient",
        when="window",
        logged_by=LIGHT,
    ),
    Quantity(
        name="Step efficiency",
        tags=(
            "thermo/step_efficiency",
            "thermo/step_efficiency_stderr",
            "thermo/step_transfer",
            "thermo/step_transfer_stderr",
        ),
        unit="none",
        formula="Σ W / Σ Q, where W is the change of the loss on the step's own batch, for the transfer on the next, "
        "and Q = g·D",
        summary="what a step makes of the descent that its gradient promises, on its own batch and on the next",
        meaning="Near 1 the step is small against the curvature: a larger learning rate would do more. At 1/2 it is "
        "as long as a line search would make it. At 0 it gains nothing, below it climbs. The transfer says how much of "
        "the promise reaches other data.",
        caution="A network that does not learn at all reads near 1 too, of a heat that is nearly nothing: look at the "
        "loss. The value is that of about the last three extra passes.",
        action="Above .98: raise the learning rate. Below .3: lower it. Efficiency high and transfer low: the step "
        "follows the noise of its batch, so take larger batches.",
        missing="the steps promised no descent (the displacement does not point down the gradient)",
        when="extra pass",
        logged_by=STANDARD,
        charts=(
            ScalarChart(
                questions.RATE,
                "Step efficiency and transfer [ratio]: 1/2 is a line search, 0 gains nothing",
                ("thermo/step_efficiency", "thermo/step_transfer"),
                place=1,
            ),
        ),
        lines=(RunLine(45),),
        key_number=45,
        final_value=45,
    ),
    Quantity(
        name="Heat share",
        family="thermo_heat_share",
        unit="none",
        formula="g·D / Σ g·D, where the sum is over all layers",
        summary="each layer's part of the descent",
        meaning="Which layers the loss falls through: the shares add up to 1.",
        caution="A layer whose move climbs has a share below 0.",
        action="A layer with many weights and next to no share does not learn: look at its gradients and its rate.",
        missing="the steps promised no descent",
        when="extra pass",
        logged_by=STANDARD,
        charts=(
            ScalarChart(questions.LAYERS, "Share of the descent by layer [share]", ("thermo_heat_share",), place=1),
        ),
    ),
)
