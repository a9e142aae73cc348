"""Settings of an optimizer's windows."""

from __future__ import annotations

from dataclasses import dataclass

from thermo_callbacks.callbacks.planning import WindowPlan
from thermo_callbacks.probes.parameters.coordinates import Sample


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """What a window is to see, and when.

    Attributes:
        window: Steps in a window.
        steps_between_windows: Steps of a pause; None: as planned, or as many as the run so far up to a limit.
        sample: Coordinates watched in each layer.
        seed: Seed of their choice.
        plan: Plan of the windows, where there is one.
        sharded: Whether each process holds a part of the parameters.
        clips: Whether clipping of gradients is expected; None: it can't be seen.
        pairs: Whether products of gradients are wanted of successive steps; None: not even of halves of a step.
    """

    window: int
    steps_between_windows: int | None
    sample: Sample
    seed: int
    plan: WindowPlan | None = None
    sharded: bool = False
    clips: bool | None = False
    pairs: bool | None = None
