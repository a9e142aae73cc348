"""Vitals of the weights: how large they and their gradients are, how far a step moves them, who is not trained."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, LIGHT, LayerColumn, Quantity, RunLine, ScalarChart

_NO_WEIGHTS = "all weights are zero"

QUANTITIES = (
    Quantity(
        name="Update ratio",
        tags=("thermo/update_ratio",),
        family="thermo_update_ratio",
        unit="none",
        formula="√(⟨D·D⟩ / ⟨q·q⟩)",
        summary="size of a step's move relative to the weights",
        meaning="How far one step moves the weights, in parts of their own size. A thousandth is a common value of "
        "layers that learn. Far above the other layers: its steps wipe out what it has learned. Far below: it hardly "
        "moves.",
        caution="Biases and other weights that start at zero have a large ratio at first. It follows the schedule of "
        "the learning rate, also down to 0.",
        action="Above a hundredth for long: lower the learning rate. A layer a hundred times below the others: give it "
        "a higher rate of its own, or look for where its gradient is lost.",
        missing=_NO_WEIGHTS,
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(questions.RATE, "Update ratio [step/weights]: about 0.001", ("thermo/update_ratio",), place=3),
            ScalarChart(
                questions.LAYERS,
                "Update ratio by layer [step/weights]",
                ("thermo_update_ratio", "thermo/update_ratio"),
            ),
        ),
        column=LayerColumn("layers", 70, "update\nratio", 2),
        lines=(RunLine(48),),
    ),
    Quantity(
        name="Gradient norm",
        tags=("thermo/gradient_norm",),
        family="thermo_gradient_norm",
        unit="loss per weight",
        formula="√(N ⟨g·g⟩ / n)",
        summary="root mean square norm of the gradient of the mean loss, before clipping",
        meaning="Steepness of the loss, noise of the batch included. Layers that get far less of it than others learn "
        "last: the signal is lost on its way to them. A sudden rise is the first sign of a run that diverges.",
        caution="It grows with the size of a layer and shrinks with the size of its weights, so compare a layer with "
        "itself. Where gradients are clipped by hand before the step is announced, it is that of the clipped gradient.",
        action="Rising while the loss does not fall: lower the learning rate, or clip. Vanishing towards the input: "
        "normalisation, residual connections, or another initialisation.",
        missing="no gradient of the window was finite",
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(
                questions.RATE, "Gradient norm before clipping [loss/weight]", ("thermo/gradient_norm",), place=4
            ),
            ScalarChart(
                questions.LAYERS,
                "Gradient norm by layer [loss/weight]",
                ("thermo_gradient_norm", "thermo/gradient_norm"),
                place=2,
            ),
        ),
    ),
    Quantity(
        name="Weight norm",
        tags=("thermo/weight_norm",),
        unit="weights",
        formula="√(N ⟨q·q⟩ / n)",
        summary="root mean square norm of the weights",
        meaning="Size of all weights together. Growth without end takes the effect of a step away (before a "
        "normalisation) or the numbers out of range.",
        caution="The largest layers rule it.",
        action="Growing for ever: weight decay, or look at the growth by layer.",
        missing="no step of the window counts",
        when="window",
        logged_by=LIGHT,
    ),
    Quantity(
        name="Weight norm by layer",
        family="thermo_weight_norm",
        unit="weights",
        formula="√(N ⟨q·q⟩ / n)",
        summary="root mean square norm of a layer's weights",
        meaning="Size of the weights of a layer, those without a gradient included.",
        caution="It grows with the size of the layer.",
        action="Compare a layer with itself: it should level off.",
        missing="no step of the window counts",
        when="window",
        logged_by=FULL,
        charts=(ScalarChart(questions.LAYERS, "Weight norm by layer [weights]", ("thermo_weight_norm",), place=6),),
    ),
    Quantity(
        name="Weight growth",
        tags=("thermo/weight_growth", "thermo/weight_growth_stderr"),
        unit="per 1,000 steps",
        formula="500 ⟨2 q·D + D·D⟩ / ⟨q·q⟩",
        summary="relative growth of the norm of the weights in 1,000 steps, with its standard error",
        meaning="Part by which the weights would grow in 1,000 steps at the pace of the window: 0.1 is a tenth. "
        "Within two errors of 0 their size stands still.",
        caution="A pace, not a forecast: it falls as training settles. Momentum makes the steps of a window go "
        "together; the error knows of that only as far as a few batches of steps can show it.",
        action="Growing on and on with a loss that stands still: weight decay. Shrinking: the decay is stronger than "
        "the gradient.",
        missing=_NO_WEIGHTS,
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(
                questions.EQUILIBRIUM,
                "Weight growth [per 1,000 steps]: 0 if the size stands",
                ("thermo/weight_growth",),
            ),
        ),
    ),
    Quantity(
        name="Weight growth by layer",
        family="thermo_weight_growth",
        unit="per 1,000 steps",
        formula="500 ⟨2 q·D + D·D⟩ / ⟨q·q⟩",
        summary="relative growth of the norm of a layer's weights in 1,000 steps",
        meaning="The same for each layer. A layer before a normalisation grows for ever without weight decay, and "
        "learns more slowly as it does.",
        caution="In short windows of layers that hardly move it is noise.",
        action="One layer that grows far faster than the others: weight decay, or a lower rate for it.",
        missing=_NO_WEIGHTS,
        when="window",
        logged_by=FULL,
        charts=(
            ScalarChart(
                questions.LAYERS, "Weight growth by layer [per 1,000 steps]", ("thermo_weight_growth",), place=6
            ),
        ),
    ),
    Quantity(
        name="Decay share",
        tags=("thermo/decay_share",),
        unit="none",
        formula="√⟨‖κ q‖²⟩ / (√⟨‖κ q‖²⟩ + √⟨‖D + κ q‖²⟩)",
        summary="part that weight decay has in what moves the weights, only where a group has weight decay",
        meaning="0: only the gradient moves the weights. One half: the decay pulls as hard as the gradient pushes. 1: "
        "nothing but decay is left.",
        caution="It compares sizes step by step: noise of the gradient counts as push, though it cancels in the long "
        "run, so decay rules the mean long before the share is one half.",
        action="Near 1: the weights are only shrinking. Lower the decay, or see why no gradient arrives.",
        missing="the weights did not move in the window",
        needs=("motion", "mobility"),
        when="window",
        logged_by=LIGHT,
        charts=(ScalarChart(questions.RATE, "Weight decay in a step [share]", ("thermo/decay_share",), place=5),),
    ),
    Quantity(
        name="Decay share by layer",
        family="thermo_decay_share",
        unit="none",
        formula="√⟨‖κ q‖²⟩ / (√⟨‖κ q‖²⟩ + √⟨‖D + κ q‖²⟩)",
        summary="part that weight decay has in what moves a layer's weights",
        meaning="The same for each layer; 0 of layers whose group has no decay.",
        caution="As for the whole: noise of the gradient counts as push.",
        action="A layer far above the others learns little that lasts: give it less decay.",
        missing="the weights did not move in the window",
        needs=("motion", "mobility"),
        when="window",
        logged_by=FULL,
    ),
    Quantity(
        name="Clipping",
        tags=("thermo/clip_factor", "thermo/clipped_share"),
        unit="none",
        formula="norm of the gradient after clipping / norm before, the mean over steps; clipped steps / steps",
        summary="what clipping leaves of the gradient, and the share of steps that it touches; only where it is "
        "expected or seen",
        meaning="A factor of 1: clipping does nothing. 0.2: the learning rate is in effect a fifth of what you set. A "
        "share of 1: every step is clipped, and the threshold sets the size of the steps.",
        caution="Where the Trainer is not told to clip, a few steps of a window are looked at until one is found "
        "clipped. Not known with a fused optimizer in 16-bit training, with LBFGS, and where a step of Nesterov's "
        "writes into the gradient.",
        action="Clipped in most steps: raise the threshold and lower the learning rate. Never clipped: the threshold "
        "does nothing but guard against outliers, which is its use.",
        missing="the optimizer writes into the gradient while it steps, or no gradient was finite",
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(
                questions.RATE,
                "Clipping: what it leaves of the gradient, and of how many steps [share]",
                ("thermo/clip_factor", "thermo/clipped_share"),
                place=5,
            ),
        ),
    ),
    Quantity(
        name="Untrained weights",
        tags=("thermo/untrained_share",),
        pictures=("thermo/untrained_layers",),
        unit="none",
        formula="untrained weights / all weights",
        summary="share of the model's weights that no step of the window could change; a text lists them and says why",
        meaning="Weights that are frozen, in no optimizer, without a gradient in the whole window, with a gradient of "
        "exactly zero, with a learning rate of zero, or with steps too small for their precision. 0.97 is right for a "
        "frozen backbone; it should be 0 if you mean to train all.",
        caution="A layer that is used now and then (an expert, a word's vector) is untrained in the windows that do "
        "not use it. The step in the text is that of the first window that shows it.",
        action="Read the text: what stands there and you did not freeze on purpose is a mistake.",
        when="window",
        logged_by=LIGHT,
        lines=(RunLine(49, label="untrained weights"),),
    ),
)
