"""Quantities of activations as heat engines."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, STANDARD, Compared, LayerColumn, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Power ratio (work efficiency)",
        tags=("thermo/work_efficiency", "thermo/work_efficiency_stderr", "thermo/work_efficiency_product"),
        family="thermo_work_efficiency",
        member="module",
        pictures=("thermo/engines",),
        label="power ratio",
        unit="none",
        formula="⟨a²⟩ / ⟨z²⟩",
        summary="mean over all activations, weighted by the power that they take in, and product "
        "along the depth (with several processes, on the batches of all)",
        meaning="Share of the signal's power that an activation passes on, from its input z to its output a. The "
        "module with the lowest wastes most. The run's value is their mean, weighted by the power that comes in; the "
        "product is that of a network where each feeds the next: far below 1, the signal dies on its way unless the "
        "weights refresh it.",
        caution="A low value is no fault where the next layer's weights make up for it: 1 / √efficiency is the gain "
        "that does. An output that is never zero (Sigmoid) counts as work also where it says nothing.",
        action="A product far below 1 in a deep plain network: initialise with the implied gain, normalise, or add "
        "skip connections.",
        missing="no power came in; its error, where an activation has a single sample",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(
            ScalarChart(
                questions.ACTIVATIONS,
                "Power ratio (work efficiency) [out/in]: mean, and product through the depth",
                ("thermo/work_efficiency", "thermo/work_efficiency_product"),
            ),
            ScalarChart(
                questions.ACTIVATIONS,
                "Power ratio by activation [out/in]",
                ("thermo_work_efficiency", "thermo/work_efficiency"),
            ),
        ),
        column=LayerColumn("activations", 10, "power\nratio", 3, "z.3f"),
        lines=(RunLine(80),),
        key_number=70,
        final_value=50,
        compared=Compared(10, "engines"),
    ),
    Quantity(
        name="Learning efficiency",
        family="thermo_learning_efficiency",
        member="module",
        unit="none",
        formula="⟨(∂L/∂z)²⟩ / ⟨(∂L/∂a)²⟩",
        summary="share of the learning signal that gets back",
        meaning="Share of the learning signal's power that gets back through the activation. Small in many layers on "
        "end: the first layers hardly learn.",
        caution="It is about one batch. No value where no gradient arrives.",
        action="Small in many layers on end: add skip connections, or take an activation that is not flat where its "
        "input lies.",
        missing="no gradient came back",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(
            ScalarChart(
                questions.ACTIVATIONS,
                "Power ratio of the gradient (learning efficiency), by activation [back/in]",
                ("thermo_learning_efficiency",),
            ),
        ),
        column=LayerColumn("activations", 20, "learning\nefficiency", 3, "z.3f"),
    ),
    Quantity(
        name="Learning signal",
        family="thermo_learning_signal",
        member="module",
        unit="none",
        formula="(Σ (∂L/∂a)² / units) / the same at the last activation",
        summary="power of the learning signal at each activation, per unit, against that at the last",
        meaning="How strong the learning signal still is when it has come back to an activation: its power per unit, "
        "over that at the last activation, so 1 there. Read it in powers of ten, from the last activation to the "
        "first, with a logarithmic y-axis (the button below the chart). Within a factor of 100 either way is health; a "
        "steady fall towards the first layers is a vanishing signal, a steady rise an exploding one.",
        caution="It is about one batch, and about the places that a gradient reaches. Layers of different width or "
        "with pooling differ by a few times in health too: it is the trend through many layers that counts.",
        action="Vanishing: initialise with the implied gain, normalise, or add skip connections. Exploding: a smaller "
        "gain, or clip gradients. In both cases the first layers learn at another rate than the last.",
        missing="no gradient reached the activation, or not the last one",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(
            ScalarChart(
                questions.LAYERS,
                "Gradient power against the last activation [ratio]: read in powers of ten",
                ("thermo_learning_signal",),
                place=4,
            ),
        ),
        column=LayerColumn("activations", 25, "learning\nsignal", 2, ".1e"),
    ),
    Quantity(
        name="Temperature drop",
        family="thermo_temperature_drop",
        member="module",
        unit="none",
        formula="1 - Var(a) / Var(z)",
        summary="relative fall of the variance from input to output",
        meaning="How much colder the output is than the input, their variances being the temperatures. Near 1 the "
        "activation cools the signal strongly; below 0 it heats it.",
        caution="It bounds nothing, though an ideal engine between these temperatures would have it as its efficiency: "
        "the identity has 0 here and passes all on, and sin and softsign do more work than it, too.",
        action="Below 0 in layer after layer: the signal grows through the depth, initialise with a smaller gain.",
        missing="the input does not vary, or is not finite",
        when="extra pass",
        logged_by=(*FULL, "WorkEfficiencyMonitor"),
    ),
    Quantity(
        name="Implied gain",
        family="thermo_implied_gain",
        member="module",
        unit="none",
        formula="1 / √(⟨a²⟩ / ⟨z²⟩)",
        summary="gain of the next layer's weights that makes up for the work efficiency",
        meaning="Gain of the next layer's weights that would make up for the work efficiency: with a standard "
        "deviation of gain / √inputs they hand on the power that came in. 1.41 for ReLU on balanced input.",
        caution="It holds at the scale of the signal that was measured, and for weights without correlation: a rule "
        "for the start of training, not for trained weights.",
        action="Draw the next layer's weights with a standard deviation of gain / √inputs, and see in your own loss "
        "whether it helps.",
        missing="no power came in, or none went out",
        when="extra pass",
        logged_by=(*FULL, "WorkEfficiencyMonitor"),
    ),
    Quantity(
        name="Engine",
        family="thermo_engine",
        member="ActivationType",
        unit="none",
        formula="⟨a²⟩ / ⟨z²⟩",
        summary="work efficiency of all activations of a type",
        meaning="Work efficiency of all activations of a type together: which type passes on most. Passive types "
        "(ReLU, Tanh, GELU) stay at or below 1; driven ones (Sigmoid, Softplus, SELU) can exceed it.",
        caution="Types sit at different depths and see different inputs: the comparison is of this network, not of "
        "the functions.",
        action="Run `thermo-callbacks compare` before you exchange one type for another: a higher efficiency need "
        "not mean a lower loss.",
        missing="no power came in",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(ScalarChart(questions.ACTIVATIONS, "Power ratio by type of activation [out/in]", ("thermo_engine",)),),
    ),
    Quantity(
        name="Dead fraction",
        family="thermo_dead_fraction",
        member="module",
        unit="none",
        formula="dead units / all units",
        summary="share of the units that never leave the flat part of their function",
        meaning="Share of the units for which the activation is flat at every sample of the batch (slope below 0.01; a "
        "ReLU that puts out 0 for all samples, a tanh saturated for all): no learning signal gets through them, so "
        "nothing before them can bring them back. A unit is a channel, or a feature of a linear layer. If it climbs, "
        "lower the learning rate or take an activation that is never flat.",
        caution="In a small batch a unit that answers rarely looks dead. A unit with a constant output is not dead "
        "unless its function is flat there.",
        action="Lower the learning rate, or take an activation that is never flat, such as LeakyReLU.",
        missing="one sample can't show it, the batch was not finite, or the activation is not one function of single "
        "numbers",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(ScalarChart(questions.LAYERS, "Dead units by activation [share]", ("thermo_dead_fraction",), place=3),),
        column=LayerColumn("activations", 30, "dead\nunits", 2, ".1%"),
    ),
    Quantity(
        name="Saturated fraction",
        family="thermo_saturated_fraction",
        member="module",
        unit="none",
        formula="(values with ‖∂a/∂z‖ < 0.01) / values that a gradient reaches",
        summary="share of the values at which the activation is flat",
        meaning="Share of the values that sit where the activation is flat, so that no learning signal gets through.",
        caution="Half is normal for ReLU, where half of the inputs are negative. For Tanh and Sigmoid it should be "
        "small.",
        action="Large for Tanh or Sigmoid: smaller initial weights, or normalise what goes in.",
        missing="no gradient came back",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(
            ScalarChart(
                questions.ACTIVATIONS, "Saturated values by activation [share]", ("thermo_saturated_fraction",)
            ),
        ),
        column=LayerColumn("activations", 40, "saturated\nvalues", 2, ".1%"),
    ),
)
