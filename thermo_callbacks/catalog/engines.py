"""Quantities of activations as heat engines."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, STANDARD, Compared, LayerColumn, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Work efficiency",
        tags=("thermo/work_efficiency", "thermo/work_efficiency_stderr", "thermo/work_efficiency_product"),
        family="thermo_work_efficiency",
        member="module",
        pictures=("thermo/engines",),
        unit="none",
        formula="⟨a²⟩ / ⟨z²⟩",
        summary="mean over all activations, weighted by the power that they take in, and product "
        "along the depth (with several processes, on the first one's batches)",
        meaning="Share of the signal's power that an activation passes on, from its input z to its output a. The "
        "module with the lowest wastes most. The run's value is their mean, weighted by the power that comes in; the "
        "product is that of a network where each feeds the next: far below 1, the signal dies on its way unless the "
        "weights refresh it.",
        caution="A low value is no fault where the next layer's weights make up for it: 1 / √efficiency is the gain "
        "that does. An output that is never zero (Sigmoid) counts as work also where it says nothing.",
        action="A product far below 1 in a deep plain network: initialise with the implied gain, normalise, or add "
        "skip connections.",
        missing="no power came in",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(
            ScalarChart(
                questions.ACTIVATIONS,
                "Work efficiency: share of the signal passed on",
                ("thermo/work_efficiency", "thermo/work_efficiency_product", "thermo_work_efficiency"),
            ),
        ),
        column=LayerColumn("activations", 10, "work\nefficiency", 3, "z.3f"),
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
                "Learning efficiency: share of the gradient let back",
                ("thermo_learning_efficiency",),
            ),
        ),
        column=LayerColumn("activations", 20, "learning\nefficiency", 3, "z.3f"),
    ),
    Quantity(
        name="Carnot bound",
        family="thermo_carnot_bound",
        member="module",
        unit="none",
        formula="1 - Var(a) / Var(z)",
        summary="what an ideal engine between the variances of input and output could turn into work",
        meaning="What an ideal engine between the temperatures of input and output, their variances, could turn into "
        "work. Near 1 the activation cools the signal strongly; below 0 it heats it.",
        caution="It does not bound the work efficiency, which counts what is passed on: the identity has 0 here and "
        "1 there.",
        action="Below 0 in layer after layer: the signal grows through the depth, initialise with a smaller gain.",
        missing="the input does not vary, or is not finite",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
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
        charts=(ScalarChart(questions.ACTIVATIONS, "Engines: work efficiency by type", ("thermo_engine",)),),
    ),
    Quantity(
        name="Dead fraction",
        family="thermo_dead_fraction",
        member="module",
        unit="none",
        formula="dead units / all units",
        summary="share of the units that give one output for all samples",
        meaning="Share of the units whose output is the same for every sample of the batch: they say nothing and, "
        "for ReLU, learn nothing. If it climbs, lower the learning rate or take an activation that is never flat.",
        caution="In a small batch a unit that fires rarely looks dead.",
        action="Lower the learning rate, or take an activation that is never flat, such as LeakyReLU.",
        missing="one sample can't show it, or the batch was not finite",
        when="extra pass",
        logged_by=(*STANDARD, "WorkEfficiencyMonitor"),
        charts=(ScalarChart(questions.ACTIVATIONS, "Dead units: share that never changes", ("thermo_dead_fraction",)),),
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
        column=LayerColumn("activations", 40, "saturated\nvalues", 2, ".1%"),
    ),
)
