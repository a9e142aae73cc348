"""What the callbacks that act on equilibrium have found, and done."""

from __future__ import annotations

from thermo_callbacks.catalog.quantity import Quantity

ACTING = ("EquilibriumScheduler", "EquilibriumStopping")

QUANTITIES = (
    Quantity(
        name="Drift of the equilibrium test",
        tags=("thermo/equilibrium_drift", "thermo/equilibrium_drift_lower", "thermo/equilibrium_drift_upper"),
        unit="none",
        formula="(1 - μ) ⟨2 (q - q₀)·D + D·D⟩ / ((1 + μ) ⟨D·D⟩), where q₀ are the weights when the tested steps began",
        summary="how steadily the weights move away from where they were, with the ends of its interval",
        meaning="At 0 they swing about where they were, as in equilibrium. At 1 they diffuse freely; above it they are "
        "driven, as while the network learns.",
        caution="Of the first optimizer, where there are several, and of the tested steps only: the second half of "
        "those at this learning rate.",
        action="None: the scheduler acts where the whole interval, and that of the loss, lies within the tolerance.",
        missing="too few steps had a finite loss, or the weights did not move",
        when="test",
        logged_by=ACTING,
    ),
    Quantity(
        name="Change of the loss in the equilibrium test",
        tags=(
            "thermo/equilibrium_loss_change",
            "thermo/equilibrium_loss_change_lower",
            "thermo/equilibrium_loss_change_upper",
        ),
        unit="none",
        formula="slope of L over the tested steps, times their number, over the noise of one L",
        summary="how much the loss changes over the tested steps, with the ends of its interval",
        meaning="Near 0 the loss stands still, to the accuracy of the interval. Below 0 it falls: at -1 by as much as "
        "the loss of one batch is off by chance.",
        caution="Of training batches: it says nothing of other data.",
        action="None: the scheduler acts where the whole interval, and that of the drift, lies within the tolerance.",
        missing="too few steps had a finite loss, or the losses have no noise",
        when="test",
        logged_by=ACTING,
    ),
    Quantity(
        name="Verdict of the equilibrium test",
        tags=("thermo/equilibrium_accepted", "thermo/equilibrium_rate"),
        unit="none; learning rate",
        formula="1 if both intervals lie within their tolerances, else 0; the largest learning rate from here on",
        summary="whether equilibrium was accepted, and the learning rate that follows",
        meaning="At 1 this learning rate has given what it can, and the rate that is logged with it is the lower one.",
        caution="0 is no proof that the run still learns: the steps may be too few to show that it does not.",
        action="None.",
        when="test",
        logged_by=ACTING,
    ),
)
