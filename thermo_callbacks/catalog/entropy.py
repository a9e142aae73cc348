"""Quantities of the weights' entropy: its balance, the free energy, the temperature of a change of state."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, STANDARD, Compared, LayerColumn, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Entropy S",
        tags=("thermo/entropy", "thermo/entropy_stderr"),
        family="thermo_entropy",
        pictures=("thermo/temperature_entropy",),
        unit="nats",
        formula="S = (N / n) Σ ½ ln(2π e Var(q))",
        summary="entropy of the weights",
        meaning="How widely the weights swing about where they are. It falls while learning pins them down and "
        "stands still in equilibrium. Only its changes mean something; that it is negative does not.",
        caution="A drift of the weights within a window widens them too. Weights are taken one by one: swings that "
        "go together count as if they didn't. Runs with different windows can't be compared.",
        action="A rise at a constant learning rate: see whether T rose too. To compare runs, give them the same "
        "`window` and `sample`.",
        missing="its error, where the window does not show how fast the weights relax; itself, where the weights of "
        "the layer have no variance in it",
        needs=("motion", "mobility"),  # its error follows from the relaxation
        when="window",
        logged_by=(*STANDARD, "EntropyMonitor", "FreeEnergyMonitor"),
        charts=(
            ScalarChart(
                questions.ENTROPY, "Entropy of the weights [nats]: it falls while they learn", ("thermo/entropy",)
            ),
        ),
        compared=Compared(50, "temperatures"),
    ),
    Quantity(
        name="Entropy destruction",
        tags=("thermo/entropy_destruction", "thermo/entropy_destruction_stderr"),
        family="thermo_entropy_destruction",
        unit="nats per step",
        formula="tr(m H) + weight decay, where weight decay is what the optimizer's own contracts",
        summary="entropy that the curvature takes in a step",
        meaning="Entropy that learning takes out with each step, by pulling all weights towards the bottom of their "
        "valleys. The layer with most of it is the one that the loss pins down fastest.",
        caution="Right while m H is small against 1. Negative where the loss is curved downwards on balance, as on a "
        "saddle. It is that of one batch at one moment: within its error it jumps from pass to pass.",
        action="Negative for long: the run crosses a saddle, train on. A layer that holds most of it is the one to "
        "watch when you raise the learning rate.",
        missing="the optimizer does not tell how far it moves a weight per unit of gradient (Nesterov's look-ahead, "
        "or a preconditioner that its state does not show)",
        when="extra pass",
        logged_by=(*STANDARD, "EntropyMonitor"),
        charts=(
            ScalarChart(
                questions.ENTROPY, "Entropy destruction, all directions [nats/step]", ("thermo/entropy_destruction",)
            ),
            ScalarChart(
                questions.ENTROPY, "Entropy destruction by layer [nats/step]", ("thermo_entropy_destruction",), place=1
            ),
        ),
        column=LayerColumn("curvature", 30, "destruction\n[nats/step]", 2),
        final_value=60,
        compared=Compared(60, "engines"),
    ),
    Quantity(
        name="Free energy F",
        tags=("thermo/free_energy",),
        unit="loss",
        formula="F = U - T S",
        summary="mean loss less the bound energy, which training with noise lowers",
        meaning="What noisy training lowers, in place of the loss alone: at high T it gives up loss for room to "
        "swing in. It stands still in equilibrium.",
        caution="T S is a product of a small and a huge number: an error of T of a tenth moves F by a tenth of T S. "
        "Where the learning rate changes, F jumps with T.",
        action="Compare moments of equal learning rate. If it stands still, the run has come to rest at this "
        "temperature: lower it, or stop.",
        missing="the entropy has none",
        when="window",
        logged_by=(*STANDARD, "FreeEnergyMonitor"),
        charts=(
            ScalarChart(
                questions.FREE_ENERGY,
                "Free energy F = U - TS [loss]",
                ("thermo/free_energy", "thermo/internal_energy", "thermo/bound_energy"),
                least=3,
            ),
        ),
        final_value=70,
    ),
    Quantity(
        name="Bound energy TS",
        tags=("thermo/bound_energy",),
        unit="loss",
        formula="T S",
        summary="the part of the energy that the swinging of the weights accounts for",
        meaning="The part of the energy that the swinging of the weights accounts for. Near 0 against U, the noise "
        "hardly matters and F is the loss.",
        caution="As S, it has no zero of its own: compare moments of one run, not models.",
        action="Large against U: a lower learning rate changes more than further steps do.",
        missing="the entropy has none",
        when="window",
        logged_by=(*STANDARD, "FreeEnergyMonitor"),
    ),
    Quantity(
        name="Transition temperature",
        tags=("thermo/transition_temperature", "thermo/transition_temperature_stderr"),
        family="thermo_transition_temperature",
        unit="loss per nat",
        formula="(U₀ - U) / (s₀ - s); -Q / (s₀ - s), where the second is that of a layer, s the entropy of the "
        "weights' values, and U₀ and s₀ are those of the start",
        summary="loss given up since the start over the entropy of the weights' values given up",
        meaning="Loss given up for each nat of entropy of the weights' values that training has given up. Negative: "
        "the loss fell while the weights spread out, as they often do.",
        caution="Where the entropy has hardly changed, it shoots up and changes sign. Its entropy is that of the "
        "weights' histogram, another one than S.",
        action="Nothing by itself. Read it between states whose entropies differ by far more than the errors.",
        missing="no loss is known, no layer's weights have an entropy, or their entropy has not changed beyond its "
        "error",
        when="window",
        logged_by=STANDARD,
        family_logged_by=FULL,
        charts=(
            ScalarChart(
                questions.FREE_ENERGY,
                "Loss given up since the start, by entropy of the weights [loss/nat]",
                ("thermo/transition_temperature",),
            ),
        ),
        lines=(RunLine(100),),
        compared=Compared(40, "temperatures"),
    ),
    Quantity(
        name="Transition temperature of the outputs",
        tags=(
            "thermo/transition_temperature_shift",
            "thermo/transition_temperature_shift_stderr",
            "thermo/transition_temperature_outputs",
            "thermo/transition_temperature_outputs_stderr",
        ),
        unit="loss per nat",
        formula="(U₀ - U) / (s₀ - s), where U is the mean validation loss, s the mean entropy of the outputs, and U₀ "
        "and s₀ are those of the state it is compared with",
        summary="loss given up over the entropy of the outputs given up, on validation data",
        meaning="Loss per nat of the outputs on validation data: *shift* from one data set to the other, *outputs* "
        "from the first validation to the last. 1 with cross-entropy: confidence moves as the loss does. Above 1 on "
        "a shift, the model loses more than it doubts: it is overconfident there.",
        caution="No value where the entropies of both states can't be told apart; close to that it scatters widely.",
        action="Above 1 on a shift: calibrate the model, by temperature scaling for example, before you trust its "
        "confidence on such data.",
        missing="the entropies of both states can't be told apart, or one state has no samples",
        when="validation",
        logged_by=("TransitionTemperatureMonitor",),
        charts=(
            ScalarChart(
                questions.FREE_ENERGY,
                "Loss by entropy of the outputs [loss/nat]: 1 if calibrated",
                ("thermo/transition_temperature_outputs", "thermo/transition_temperature_shift"),
            ),
        ),
        lines=(
            RunLine(110, "thermo/transition_temperature_outputs", "of the outputs"),
            RunLine(120, "thermo/transition_temperature_shift", "of the data shift"),
        ),
    ),
)
