"""Quantities of the most curved directions: sharpness, stability margin, and the entropy balance that they resolve."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, Quantity, RunLine, ScalarChart

_BALANCE = (
    "the window resolves none of the directions that the last extra pass found, or the optimizer does not tell how "
)
_BALANCE += "far it moves a weight per unit of gradient"

QUANTITIES = (
    Quantity(
        name="Sharpness",
        tags=("thermo/sharpness", "thermo/sharpness_stderr"),
        unit="loss",
        formula="½ (u·(H u) + u·(H₊ u)), where u is the eigenvector of H's largest eigenvalue, H is the Hessian of "
        "the step's batch and H₊ that of the batch after it",
        summary="largest eigenvalue of the Hessian",
        meaning="How curved the loss is in its most curved direction. A gradient step with a learning rate above two "
        "over it climbs that wall in place of coming down.",
        caution="Of the mean loss, not of a batch: on a batch the largest eigenvalue reads too high, along its "
        "direction on another batch too low, and the mean of both is about right. Of chosen layers alone, it is that "
        "of their block.",
        action="Read it with the stability margin. A sudden rise before the loss jumps: a lower learning rate, or a "
        "warm-up.",
        missing="the training step skipped a batch, or its curvature is not finite",
        when="extra pass",
        logged_by=(*FULL, "EntropyMonitor"),
        charts=(
            ScalarChart(
                questions.CURVATURE, "Sharpness, the largest eigenvalue of the Hessian [loss]", ("thermo/sharpness",)
            ),
        ),
        lines=(RunLine(75),),
    ),
    Quantity(
        name="Stability margin",
        tags=("thermo/stability_margin", "thermo/stability_margin_stderr"),
        unit="none",
        formula="largest eigenvalue of the Hessian that the optimizer sees, over the one at which it becomes unstable",
        summary="sharpness over the edge of stability",
        meaning="Below 1 the optimizer settles in a valley of this curvature, above 1 it swings out of it. Runs often"
        " climb to 1 and hover there: the edge of stability. The edge is 2/η for SGD, 2(1+μ)/η with momentum, "
        "(2+2μ)/(η(1+2μ)) with Nesterov's, and (2+2β₁)/((1-β₁)η) of the Hessian with Adam's preconditioner. Weight "
        "decay counts.",
        caution="It is for full batches and a fixed quadratic: with small batches a run gets unstable before 1.",
        action="Far below 1 with a loss that falls slowly: a higher learning rate may do. Above 1 and the loss jumps:"
        " a lower one.",
        missing="the edge of stability of the optimizer is not known (it is for SGD, Adam, AdamW, RMSprop and "
        "Adagrad), its groups have different momenta, or several optimizers step",
        when="extra pass",
        logged_by=(*FULL, "EntropyMonitor"),
        key_number=60,
        charts=(
            ScalarChart(
                questions.RATE,
                "Stability margin [ratio]: beyond 1 the optimizer is unstable",
                ("thermo/stability_margin",),
                place=2,
            ),
        ),
        lines=(RunLine(76),),
    ),
    Quantity(
        name="Resolved share",
        tags=("thermo/resolved_share", "thermo/resolved_share_stderr"),
        unit="none",
        formula="destruction along the directions that the window resolves, over the entropy destruction",
        summary="share of the entropy destruction whose balance is known",
        meaning="A window can weigh production against destruction only in directions that relax within it. This is "
        "the share of the destruction that they hold; of the rest nothing is known.",
        caution="Directions that curve down lower the whole, so that it can exceed 1.",
        action="To raise it, take a longer `window`.",
        missing="the entropy destruction has none, or is not above 0",
        when="window",
        logged_by=(*FULL, "EntropyMonitor"),
        charts=(
            ScalarChart(
                questions.ENTROPY,
                "Destruction that the balance is known of [share]",
                ("thermo/resolved_share",),
                place=2,
            ),
        ),
        lines=(RunLine(47),),
    ),
    Quantity(
        name="Entropy production",
        tags=("thermo/entropy_production", "thermo/entropy_production_stderr"),
        unit="nats per step",
        formula="Σ m Tⱼ / Var(uⱼ·q), where uⱼ are the most curved directions that the window resolves, and Tⱼ is the "
        "kinetic temperature along each",
        summary="entropy that noise adds in a step, in the resolved directions",
        meaning="Entropy that the noise puts back with each step in the most curved directions, those that relax "
        "within the window. In equilibrium it equals what is destroyed in them.",
        caution="It is not the production of all directions: compare it with the destruction of the same ones, as the"
        " entropy rate does. A drift within the window lowers it.",
        action="Nothing by itself: see the entropy rate.",
        missing=_BALANCE,
        when="window",
        logged_by=(*FULL, "EntropyMonitor"),
    ),
    Quantity(
        name="Entropy rate",
        tags=("thermo/entropy_rate", "thermo/entropy_rate_stderr"),
        unit="nats per step",
        formula="production - destruction",
        summary="production minus destruction, in the resolved directions",
        meaning="Below 0 the weights are still being pulled together in the most curved directions. At 0 noise and "
        "slope balance there, as they do soon in a run: stiff directions come to rest first. Above 0 noise wins.",
        caution="It says nothing of the directions that the window does not resolve, and so not whether the run still"
        " learns: read the resolved share with it. Whether entropy falls on the whole also depends on how widely the "
        "run was initialised.",
        action="Above 0 for long: a lower learning rate, or larger batches.",
        missing=_BALANCE,
        when="window",
        logged_by=(*FULL, "EntropyMonitor"),
        charts=(
            ScalarChart(
                questions.ENTROPY,
                "Entropy rate of the resolved directions [nats/step]",
                ("thermo/entropy_rate",),
                place=2,
            ),
        ),
        lines=(RunLine(50),),
    ),
    Quantity(
        name="Second law",
        tags=("thermo/second_law", "thermo/second_law_score"),
        unit="none",
        formula="-1, 0 or 1; rate / its standard error",
        summary="sign of the rate where it differs from 0 (-1, 0, 1), and by how many standard errors it does",
        meaning="The score says how sure the sign of the rate is; within ±2 it may be chance. The flag sums it up: -1"
        " the entropy of the resolved directions falls, 0 it is balanced, 1 it grows.",
        caution="It is about the resolved directions alone, and 0 may also mean that the errors are large.",
        action="1 for long: lower the learning rate, or take larger batches.",
        missing=_BALANCE,
        when="window",
        logged_by=(*FULL, "EntropyMonitor"),
        charts=(
            ScalarChart(
                questions.ENTROPY,
                "Second law: entropy rate [standard errors], sure beyond ±2",
                ("thermo/second_law_score",),
                place=2,
            ),
        ),
        lines=(RunLine(60, words={-1.0: "entropy falls", 0.0: "no trend resolved", 1.0: "entropy grows"}),),
    ),
)
