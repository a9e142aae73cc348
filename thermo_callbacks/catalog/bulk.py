"""Quantities of the bulk: the network's neurons as a canonical ensemble."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Complexity C",
        tags=("thermo/complexity", "thermo/complexity_stderr"),
        unit="nats",
        formula="C = ½ ln det G",
        summary="how strongly the neurons are tied to one another",
        meaning="How strongly the neurons are tied to one another: the nats that the network takes from their "
        "freedom to move. It grows as weights grow and as layers depend on each other.",
        caution="It grows with the number of neurons and with the regulator: compare moments of one network.",
        action="Grows without end: weight decay slows it.",
        missing="the states of the neurons are not finite",
        when="extra pass",
        logged_by=(*FULL, "BulkMonitor"),
        charts=(
            ScalarChart(
                questions.NEURONS, "Complexity [nats]: how stiffly the neurons are tied", ("thermo/complexity",)
            ),
        ),
        lines=(RunLine(90),),
        key_number=80,
        final_value=80,
    ),
    Quantity(
        name="Bulk and boundary loss",
        tags=("thermo/bulk_loss", "thermo/pinned_bulk_loss", "thermo/boundary_loss"),
        unit="squared activations; loss",
        formula="½ Σ (x - f(w x + b))²; the same without the outputs + L; L, where w and b are those of a step later, "
        "Σ is over all neurons of a sample, and the mean over a few samples is logged",
        summary="agitation of the neurons by one step of the weights, the same with the targets in place of the "
        "outputs, and the training loss",
        meaning="Bulk: how far one step of the weights displaces what the neurons do; pinned: with the targets in "
        "place of the outputs. Boundary: the training loss. A bulk that stays large while the boundary stands still "
        "means steps that shuffle the inside for nothing.",
        caution="They have different units, so compare their courses and not their heights. The bulk loss grows with "
        "the square of the learning rate.",
        action="Bulk large while the boundary stands still: lower the learning rate.",
        missing="the optimizer made no step at the extra pass",
        when="extra pass",
        logged_by=(*FULL, "BulkMonitor"),
        charts=(
            ScalarChart(questions.NEURONS, "Loss in the bulk [squared activations]", ("thermo/bulk_loss",)),
            ScalarChart(questions.NEURONS, "Loss at the boundary [loss]", ("thermo/boundary_loss",)),
        ),
    ),
    Quantity(
        name="Equipartition temperature",
        tags=("thermo/equipartition_temperature",),
        unit="squared activations",
        formula="Tₓ = 2 ⟨bulk loss⟩ / neurons, where neurons are all but the inputs, and ⟨ ⟩ is over samples",
        summary="temperature of the neurons",
        meaning="How agitated the neurons are, each one's share of the bulk loss twice over. It cools as the kinetic "
        "temperature of the weights does; where only one of them moves, look for what changed.",
        caution="It is not in the unit of T: compare their courses and not their heights.",
        action="Too hot late in training: lower the learning rate, as for T.",
        missing="the optimizer made no step at the extra pass",
        when="extra pass",
        logged_by=(*FULL, "BulkMonitor"),
        charts=(
            ScalarChart(
                questions.NEURONS,
                "Temperature of the neurons [squared activations]",
                ("thermo/equipartition_temperature",),
            ),
        ),
    ),
    Quantity(
        name="Thermodynamics of the bulk",
        tags=("thermo/bulk_log_partition", "thermo/bulk_entropy", "thermo/bulk_free_energy"),
        unit="nats; nats; squared activations",
        formula="ln Z = (neurons / 2) ln(2π Tₓ) - C; Sₓ = (neurons / 2) (1 + ln(2π Tₓ)) - C; -Tₓ ln Z, where neurons "
        "are all, the inputs among them",
        summary="partition function, entropy and free energy of the neurons at their temperature",
        meaning="The neurons as a gas at their equipartition temperature: what the complexity takes from their "
        "entropy. A fall at a constant Tₓ is the network growing more complex.",
        caution="They are those of small swings about the forward pass. Most of what they do, Tₓ does: watch C for "
        "the network's part.",
        action="Nothing by itself: a fall at constant Tₓ is the complexity's, see there.",
        missing="the equipartition temperature is not above zero",
        when="extra pass",
        logged_by=(*FULL, "BulkMonitor"),
    ),
    Quantity(
        name="First-law residual of the bulk",
        tags=("thermo/bulk_first_law_residual",),
        unit="squared activations",
        formula="change(neurons Tₓ / 2) - mean(Tₓ) change(Sₓ + C), where neurons are all, the inputs "
        "among them, and change and mean are those of this extra pass and the one before",
        summary="what the first law leaves unexplained of the change of the neurons' energy since the extra pass "
        "before",
        meaning="What Tₓ (dSₓ + dC) doesn't explain of the change of the gas's energy since the extra pass before. "
        "Near 0 the balance closes.",
        caution="It closes for small changes: a jump of Tₓ between two extra passes leaves a residual by itself.",
        action="Large: take extra passes more often (`curvature_every_n_steps`), so that less changes in between.",
        missing="the equipartition temperature is not above zero",
        when="extra pass",
        logged_by=(*FULL, "BulkMonitor"),
    ),
    Quantity(
        name="Trace of the Hessian of the total free energy",
        tags=(
            "thermo/total_laplacian",
            "thermo/total_laplacian_stderr",
            "thermo/complexity_laplacian",
            "thermo/complexity_laplacian_stderr",
        ),
        unit="loss",
        formula="tr H + Tₓ ∇²C; ∇²C",
        summary="curvature of the loss and of the complexity together, and that of the complexity",
        meaning="Curvature of the loss and of the complexity together: the efficiency of learning. The gap to the "
        "trace of the Hessian is what the network's complexity adds.",
        caution="At low Tₓ the gap drowns in the error of tr H. It has a value only for networks in which each layer "
        "feeds the next.",
        action="As for the trace of the Hessian. If the gap is large, the complexity is what limits the steps.",
        missing="the network is no chain of layers, or an activation has no third derivative",
        when="extra pass",
        logged_by=(*FULL, "BulkMonitor"),
        charts=(
            ScalarChart(
                questions.NEURONS,
                "Trace of the Hessian of the loss, and with the complexity's [loss]",
                ("thermo/total_laplacian", "thermo/laplacian"),
                least=2,
            ),
        ),
    ),
    Quantity(
        name="Spectrum of G",
        tags=("thermo/bulk_spectrum",),
        unit="none",
        formula="eigenvalues of G",
        summary="how stiff the patterns of the neurons are, a histogram in TensorBoard",
        meaning="Under *Histograms*. Eigenvalues near the regulator are patterns of the neurons that cost next to "
        "nothing to excite, large ones are stiff. A tail that grows to the right is complexity building up.",
        caution="It is that of a few samples of one batch.",
        action="A tail that grows without end: see the complexity.",
        when="extra pass",
        logged_by=(*FULL, "BulkMonitor"),
    ),
)
