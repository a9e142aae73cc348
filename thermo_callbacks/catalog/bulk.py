"""Quantities of the bulk: the network's neurons as a canonical ensemble."""

from __future__ import annotations

from thermo_callbacks.catalog.quantity import Quantity

QUANTITIES = (
    Quantity(
        name="Complexity C",
        tags=("thermo/complexity", "thermo/complexity_stderr"),
        family="",
        formula="C = ½ ln det G",
        unit="nats",
        meaning="How strongly the neurons are tied to one another: the nats that the network takes from their freedom "
        "to move. It grows as weights grow and as layers depend on each other.",
        caution="It grows with the number of neurons and with the regulator: compare moments of one network.",
        action="Grows without end: weight decay slows it.",
    ),
    Quantity(
        name="Bulk and boundary loss",
        tags=("thermo/bulk_loss", "thermo/pinned_bulk_loss", "thermo/boundary_loss"),
        family="",
        formula="½ Σ (x - f(wx + b))², w and b a step later; L",
        unit="squared activations; loss",
        meaning="Bulk: how far one step of the weights displaces what the neurons do; pinned: with the targets in "
        "place of the outputs. Boundary: the training loss. A bulk that stays large while the boundary stands still "
        "means steps that shuffle the inside for nothing.",
        caution="They have different units, so compare their courses and not their heights. The bulk loss grows with "
        "the square of the learning rate.",
        action="Bulk large while the boundary stands still: lower the learning rate.",
    ),
    Quantity(
        name="Equipartition temperature",
        tags=("thermo/equipartition_temperature",),
        family="",
        formula="2 ⟨bulk loss⟩ / neurons",
        unit="squared activations",
        meaning="How agitated the neurons are, each one's share of the bulk loss twice over. It cools as the kinetic "
        "temperature of the weights does; where only one of them moves, look for what changed.",
        caution="It is not in the unit of T: compare their courses and not their heights.",
        action="Too hot late in training: lower the learning rate, as for T.",
    ),
    Quantity(
        name="Thermodynamics of the bulk",
        tags=("thermo/bulk_log_partition", "thermo/bulk_entropy", "thermo/bulk_free_energy"),
        family="",
        formula="ln Z = (n/2) ln(2π T) - C; S = (n/2)(1 + ln(2π T)) - C; -T ln Z",
        unit="nats; nats; squared activations",
        meaning="The n neurons as a gas at their equipartition temperature T: what the complexity takes from their "
        "entropy. A fall at a constant T is the network growing more complex.",
        caution="They are those of small swings about the forward pass. Most of what they do, T does: watch C for the "
        "network's part.",
        action="Nothing by itself: a fall at constant T is the complexity's, see there.",
    ),
    Quantity(
        name="First-law residual of the bulk",
        tags=("thermo/bulk_first_law_residual",),
        family="",
        formula="change of n T / 2 - T (change of S + C)",
        unit="squared activations",
        meaning="What T (dS + dC) doesn't explain of the change of the gas's energy since the extra pass before. Near "
        "0 the balance closes.",
        caution="It closes for small changes: a jump of T between two extra passes leaves a residual by itself.",
        action="Large: take extra passes more often (`curvature_every_n_steps`), so that less changes in between.",
    ),
    Quantity(
        name="Laplacian of the total free energy",
        tags=(
            "thermo/total_laplacian",
            "thermo/total_laplacian_stderr",
            "thermo/complexity_laplacian",
            "thermo/complexity_laplacian_stderr",
        ),
        family="",
        formula="tr H + T ΔC; ΔC",
        unit="loss",
        meaning="Curvature of the loss and of the complexity together: the efficiency of learning. The gap to the "
        "Laplacian is what the network's complexity adds.",
        caution="At low T the gap drowns in the error of tr H. It has a value only for networks in which each layer "
        "feeds the next.",
        action="As for the Laplacian. If the gap is large, the complexity is what limits the steps.",
    ),
    Quantity(
        name="Spectrum of G",
        tags=("thermo/bulk_spectrum",),
        family="",
        formula="eigenvalues of G",
        unit="none",
        meaning="Under *Histograms*. Eigenvalues near the regulator are patterns of the neurons that cost next to "
        "nothing to excite, large ones are stiff. A tail that grows to the right is complexity building up.",
        caution="It is that of a few samples of one batch.",
        action="A tail that grows without end: see the complexity.",
    ),
)
