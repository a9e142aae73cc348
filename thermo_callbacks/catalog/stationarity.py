"""Quantities that say whether the run is stationary."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, LIGHT, LayerColumn, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Drift share",
        tags=("thermo/drift_share",),
        family="thermo_drift_share",
        unit="none",
        formula="t² / (t² + K - 1), where t is the mean change of ‖q‖² in a step of the window over its standard "
        "error, from K batches of steps",
        summary="part of the change of the weights' size that is steady, not to and fro",
        meaning="Near 1 the weights grow or shrink all through the window, as they do while a network learns. In "
        "equilibrium they only swing, and it reads about 1/K: 0.08 on average in windows of 50 steps, up to 0.14 in "
        "those of 8 to 16.",
        caution="Whether a share is more than chance is for the p-value to say: in a short window a large one need not "
        "be. A layer right before BatchNorm or LayerNorm grows without end unless weight decay holds it, learning or "
        "not. And a small share proves no equilibrium: a slow drift does not show in one window, and the loss has to "
        "stand still too.",
        action="Near 1 with a p-value near 0: train on. Small in window after window, with a loss that stands still: "
        "lower the learning rate, or stop.",
        missing="too few steps of the window had a finite gradient",
        needs=("motion",),
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(
                questions.EQUILIBRIUM,
                "Drift of the weights [share], and its p-value: near 0, it is real",
                ("thermo/drift_share", "thermo/drift_p_value"),
            ),
            ScalarChart(
                questions.EQUILIBRIUM,
                "Drift by layer [share]: near 1, it still grows or shrinks",
                ("thermo_drift_share",),
            ),
        ),
        column=LayerColumn("layers", 40, "drift\nshare", 2, ".2f"),
        lines=(RunLine(30),),
        key_number=30,
        final_value=30,
    ),
    Quantity(
        name="p-value of the drift",
        tags=("thermo/drift_p_value",),
        unit="none",
        formula="2 P(t), where P is the tail of Student's t with K - 1 degrees of freedom, at the size of the t of the "
        "drift share",
        summary="how often a window without drift shows as much by chance",
        meaning="Below 0.05 the size of the weights changed steadily, more than chance makes likely. In equilibrium "
        "about one window in twenty falls below 0.05, or fewer.",
        caution="One small value among twenty windows is chance; small ones in a row are not. Where the optimizer "
        "remembers steps in a way that the monitor does not know as its momentum, it comes out too small.",
        action="Small in window after window: the run still moves, train on.",
        missing="too few steps of the window had a finite gradient",
        needs=("motion",),
        when="window",
        logged_by=LIGHT,
        lines=(RunLine(31),),
    ),
    Quantity(
        name="Equilibrium ratio R",
        tags=("thermo/equilibrium_ratio", "thermo/equilibrium_ratio_stderr", "thermo/equilibrium_reference"),
        family="thermo_equilibrium_ratio",
        unit="none",
        formula="R = -2 ⟨q·D⟩ / ⟨D·D⟩",
        summary="1 when the size of the weights is stationary",
        meaning="At 1 the size of the weights stands still, as it must in equilibrium. Below 1 they grow, above 1 "
        "they shrink. The reference is the line at 1.",
        caution="Exact, and of little use in one window: large weights that move little make it scatter by tens, in "
        "equilibrium too. A layer right before BatchNorm or LayerNorm never gets to 1 without weight decay. And 1 "
        "alone proves no equilibrium: the loss has to stand still too.",
        action="Judge a window by the drift share. Over many windows, compare the mean of R with 1.",
        missing="the weights did not move in the window",
        needs=("motion",),
        when="window",
        logged_by=FULL,
        charts=(
            ScalarChart(
                questions.EQUILIBRIUM,
                "Equilibrium ratio [ratio]: 1 if it is",
                ("thermo/equilibrium_ratio",),
                reference="thermo/equilibrium_reference",
                place=2,
            ),
            # not with the run's: one layer far out would press the run and the line at 1 into one
            ScalarChart(
                questions.EQUILIBRIUM,
                "Equilibrium ratio by layer [ratio]: 1 if it is",
                ("thermo_equilibrium_ratio",),
                reference="thermo/equilibrium_reference",
                place=2,
            ),
        ),
    ),
)
