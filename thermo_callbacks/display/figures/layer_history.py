"""History of one value a layer over a whole run, in bounded memory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

_STATE_VERSION = 1


class LayerHistory:
    r"""Values of all layers at the logging points of a run, in memory that does not grow with its length.

    Rows ``(step, values)`` come in, columns are kept. A column is the mean of equally many consecutive rows, one
    row to begin with. When ``capacity`` columns are full, neighbours are averaged in pairs, and from then on a column
    takes twice as many rows. Memory: 16 bytes a layer and column.

    Values that are not finite are left out of the means; a layer without any finite value in a column reads NaN there.
    Layers are kept in order of depth: a layer that shows up later in a run (a backbone that thaws) goes behind the
    one before it in its row. A step that is not beyond the last one means that training went back (a second fit, an
    earlier checkpoint): the columns from there on are forgotten, as TensorBoard forgets them.

    Args:
        capacity: Columns to keep, an even number of at least 2.

    Raises:
        ValueError: If ``capacity`` is odd or below 2.

    Example:
        >>> history = LayerHistory(capacity=2)
        >>> history.append(10, {"encoder": 1.0})
        >>> history.append(20, {"encoder": 3.0, "head": 8.0})
        >>> history.layers, history.values
        (('encoder', 'head'), array([[ 1.,  3.],
               [nan,  8.]]))
        >>> history.append(30, {"encoder": 5.0, "head": 6.0})  # full: the first two columns become one
        >>> history.values
        array([[2., 5.],
               [8., 6.]])
    """

    def __init__(self, capacity: int = 256) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError(f"capacity must be an even number of at least 2 (for example 256), got {capacity}")
        self._capacity = capacity
        self._clear()

    def _clear(self) -> None:
        self._layers: list[str] = []
        self._rows_per_column = 1
        self._rows_in_last = 1  # as if a full column had gone before: the first row opens one
        self._steps = np.zeros((2, 0), dtype=np.int64)  # first and last of each column
        self._cells = np.zeros((2, 0, 0))  # sum and number of the finite values of each layer and column

    def __len__(self) -> int:
        return self._steps.shape[1]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of depth."""
        return tuple(self._layers)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """Mean values, shape ``[layers, columns]``; NaN where a layer has none."""
        sums, counts = self._cells
        return np.divide(sums, counts, out=np.full_like(sums, math.nan), where=counts > 0)

    @property
    def middles(self) -> npt.NDArray[np.float64]:
        """Steps half way from the first to the last row of each column, shape ``[columns]``."""
        first, last = self._steps
        return (first + last) / 2.0

    @property
    def boundaries(self) -> npt.NDArray[np.float64]:
        """Steps between which the columns lie, shape ``[columns + 1]``, increasing; empty without columns."""
        if len(self) == 0:
            return np.zeros(0)
        first, last = self._steps
        inner = (last[:-1] + first[1:]) / 2.0
        # the outer columns reach as far beyond their outermost rows as they do on their inner side
        before = inner[0] - last[0] if len(self) > 1 else 0.5
        behind = first[-1] - inner[-1] if len(self) > 1 else 0.5
        return np.concatenate(([first[0] - before], inner, [last[-1] + behind]))

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of one logging point.

        Args:
            step: Step of the logging point. One that is not beyond the last one forgets what came at or after it.
            values: Layer name to value, in order of depth. Layers that are known but absent here have no value in this
                row.
        """
        self._forget_from(step)
        if not set(values) <= set(self._layers):
            self._add_layers(list(values))
        if self._rows_in_last == self._rows_per_column:
            self._open_column(step)
        self._steps[1, -1] = step
        self._rows_in_last += 1
        rows = {name: row for row, name in enumerate(self._layers)}
        for name, value in values.items():
            if math.isfinite(value):
                self._cells[:, rows[name], -1] += value, 1

    def state_dict(self) -> dict[str, Any]:
        """Copy of the state: tensors, integers and strings only, which any checkpoint can hold.

        Returns:
            A dictionary for :meth:`load_state_dict`.
        """
        (first, last), (sums, counts) = self._steps, self._cells
        return {
            "version": _STATE_VERSION,
            "layers": list(self._layers),
            "capacity": self._capacity,
            "rows_per_column": self._rows_per_column,
            "rows_in_last": self._rows_in_last,
            "first": torch.tensor(first),
            "last": torch.tensor(last),
            "sums": torch.tensor(sums),
            "counts": torch.tensor(counts, dtype=torch.int64),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, with the capacity it was saved with.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If entries are missing, of another version, or their shapes do not fit together.
        """
        _check_state(state)
        self._capacity, self._layers = int(state["capacity"]), list(state["layers"])
        self._rows_per_column, self._rows_in_last = int(state["rows_per_column"]), int(state["rows_in_last"])
        self._steps = np.stack([state[key].cpu().numpy() for key in ("first", "last")])
        self._cells = np.stack([state[key].cpu().numpy() for key in ("sums", "counts")])

    def _forget_from(self, step: int) -> None:
        kept = int(np.searchsorted(self._steps[1], step))
        if kept == 0:
            self._clear()
        elif kept < len(self):
            self._steps, self._cells = self._steps[:, :kept], self._cells[:, :, :kept]
            self._rows_in_last = self._rows_per_column

    def _add_layers(self, row: list[str]) -> None:
        layers = merge_names(self._layers, row)
        cells = np.zeros((2, len(layers), len(self)))
        cells[:, [layers.index(name) for name in self._layers]] = self._cells
        self._layers, self._cells = layers, cells

    def _open_column(self, step: int) -> None:
        if len(self) == self._capacity:  # neighbours become one
            self._steps = np.stack([self._steps[0, 0::2], self._steps[1, 1::2]])
            self._cells = self._cells[:, :, 0::2] + self._cells[:, :, 1::2]
            self._rows_per_column *= 2
        self._steps = np.pad(self._steps, ((0, 0), (0, 1)), constant_values=step)
        self._cells = np.pad(self._cells, ((0, 0), (0, 0), (0, 1)))
        self._rows_in_last = 0


class TemperatureHistory(LayerHistory):
    """Former name of :class:`LayerHistory`, whose ``values`` are the temperatures."""

    temperatures = LayerHistory.values

    def __init__(self, capacity: int = 256) -> None:
        warnings.warn("TemperatureHistory is called LayerHistory now", DeprecationWarning, stacklevel=2)
        super().__init__(capacity)


def merge_names(known: Sequence[str], row: Sequence[str]) -> list[str]:
    """Merge lists of names: known ones keep their order, new ones go behind their predecessor in the row."""
    merged = list(known)
    shared = next((name for name in row if name in merged), None)
    place = len(merged) if shared is None else merged.index(shared)
    for name in row:
        if name in merged:
            place = merged.index(name)
        else:
            merged.insert(place, name)
        place += 1
    return merged


def _check_state(state: Mapping[str, Any]) -> None:
    missing = [key for key in LayerHistory().state_dict() if key not in state]
    if missing:
        raise ValueError(f"state of a history lacks {missing}: load what state_dict() returned")
    if state["version"] != _STATE_VERSION:
        raise ValueError(
            f"state of a history has version {state['version']}, this package reads {_STATE_VERSION}: "
            "resume with the package version that wrote the checkpoint"
        )
    columns = len(state["first"])
    shapes = {key: tuple(state[key].shape) for key in ("first", "last", "sums", "counts")}
    cells = (len(state["layers"]), columns)
    if shapes != {"first": (columns,), "last": (columns,), "sums": cells, "counts": cells}:
        raise ValueError(
            f"state of a history with {cells[0]} layers and {columns} columns has tensors of shapes "
            f"{shapes}: load what state_dict() returned"
        )
