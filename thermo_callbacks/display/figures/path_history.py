"""History of entropy and temperature over a whole run, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thermo_callbacks.display.figures.layer_history import LayerHistory

_ENTROPY, _TEMPERATURE = "entropy", "temperature"


class PathHistory:
    """Entropy and temperature of a run at its logging points, in memory that does not grow with its length.

    Points come in and are averaged over equally many consecutive ones as in
    :class:`~thermo_callbacks.display.LayerHistory`, with the same rule for a step that goes back. A point without a
    finite entropy or without a finite temperature is no point, and is left out.

    Args:
        capacity: Points to keep, an even number of at least 2.

    Raises:
        ValueError: If ``capacity`` is odd or below 2.

    Example:
        >>> path = PathHistory(capacity=2)
        >>> for step, entropy, temperature in [(10, -3.0, 4.0), (20, -5.0, 2.0), (30, -8.0, 1.0)]:
        ...     path.append(step, entropy, temperature)
        >>> path.steps, path.entropies, path.temperatures
        (array([15., 30.]), array([-4., -8.]), array([3., 1.]))
    """

    def __init__(self, capacity: int = 256) -> None:
        self._points = LayerHistory(capacity)

    def __len__(self) -> int:
        return len(self._points)

    @property
    def steps(self) -> npt.NDArray[np.float64]:
        """Steps of the points, shape ``[points]``: of each mean, half way from its first step to its last."""
        return self._points.middles

    @property
    def entropies(self) -> npt.NDArray[np.float64]:
        """Mean entropies in nats, shape ``[points]``."""
        return self._row(0)

    @property
    def temperatures(self) -> npt.NDArray[np.float64]:
        """Mean temperatures in units of the loss, shape ``[points]``."""
        return self._row(1)

    def append(self, step: int, entropy: float, temperature: float) -> None:
        """Add the point of one logging point.

        Args:
            step: Step of the logging point. One that is not beyond the last one forgets what came at or after it.
            entropy: Entropy in nats.
            temperature: Temperature in units of the loss.
        """
        if math.isfinite(entropy) and math.isfinite(temperature):
            self._points.append(step, {_ENTROPY: entropy, _TEMPERATURE: temperature})

    def state_dict(self) -> dict[str, Any]:
        """Copy of the state: tensors, integers and strings only, which any checkpoint can hold.

        Returns:
            A dictionary for :meth:`load_state_dict`.
        """
        return self._points.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, with the capacity it was saved with.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If entries are missing, of another version, hold other values, or their shapes do not fit.
        """
        if state.get("layers", []) not in ([], [_ENTROPY, _TEMPERATURE]):
            raise ValueError(
                f"state of a path holds {state['layers']} in place of entropy and temperature: load what state_dict() "
                "of a path returned"
            )
        self._points.load_state_dict(state)

    def _row(self, row: int) -> npt.NDArray[np.float64]:
        return self._points.values[row] if len(self._points) else np.zeros(0)
