"""What each monitor measures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thermo_callbacks.callbacks.windows.records import ENTROPIES, EQUILIBRIUM, NOISE, TEMPERATURES, WindowQuantity


@dataclass(frozen=True)
class Plan:
    """Quantities of one monitor.

    Attributes:
        quantities: What is computed from the window of each optimizer.
        heat: Whether heat, energy balance and skipped steps are recorded.
        free_energy: Whether internal and free energy are.
        transition: Whether the transition temperature since the start of training is.
        curvature: What is measured with Hessian-vector products: ``"laplacian"``, ``"destruction"``, ``"rugh"``.
        activations: Whether the activations are looked at.
        bulk: Whether the neuron states are.
        topology: Whether the network's topology is logged when training starts.
    """

    quantities: tuple[WindowQuantity, ...]
    heat: bool = False
    free_energy: bool = False
    transition: bool = False
    curvature: frozenset[str] = frozenset()
    activations: bool = False
    bulk: bool = False
    topology: bool = False

    @property
    def extra_passes(self) -> bool:
        """Whether anything is measured besides the windows."""
        return bool(self.curvature) or self.activations or self.bulk


_LIGHT = (*TEMPERATURES, *EQUILIBRIUM, *NOISE)
_CURVATURE = frozenset({"laplacian", "destruction", "rugh"})
_STANDARD = Plan(
    (*_LIGHT, *ENTROPIES),
    heat=True,
    free_energy=True,
    transition=True,
    curvature=_CURVATURE,
    activations=True,
    topology=True,
)
PRESETS = {
    "light": Plan(_LIGHT, heat=True, topology=True),
    "standard": _STANDARD,
    "full": replace(_STANDARD, bulk=True),
}
TEMPERATURE = Plan(TEMPERATURES)
ENTROPY = Plan((TEMPERATURES[0], *ENTROPIES), curvature=frozenset({"destruction"}))
FREE_ENERGY = Plan((TEMPERATURES[0], ENTROPIES[0]), free_energy=True, curvature=frozenset({"laplacian", "rugh"}))
WORK = Plan((), activations=True)
BULK = Plan((), curvature=frozenset({"laplacian"}), bulk=True)
