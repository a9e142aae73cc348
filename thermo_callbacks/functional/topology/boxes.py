"""Boxes of widths that cover an isoenergetic shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from thermo_callbacks.functional.topology.shell import Shell

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
_Kind = TypeVar("_Kind", np.int64, np.float64)

_MOST_BOXES = 100_000  # some hundredths of a second to make, some ten megabytes to hold
_SLACK = 1e-9  # energies of corners are in floating point: in doubt a box is kept


@dataclass(frozen=True)
class Boxes:
    """B disjoint boxes of hidden widths, which hold every topology of a shell of k hidden layers together."""

    low: Integers  # smallest widths, [B, k]
    high: Integers  # largest widths, [B, k]
    solved: Integers  # the layer, from 0, whose width follows from the others' and the energy, [B]
    choices: Integers  # most values that it can have then, [B]; 1 without a tolerance
    candidates: Numbers  # in each box, widths of the other layers times choices, [B]


def covering_boxes(shell: Shell) -> Boxes:
    """Cover a shell by boxes with powers of 2 as corners, or of more if too many; none if surely empty."""
    base = 2
    while (low := _lower_corners(shell, base)) is None:
        base *= 2
    low, high = _tightened(shell, low, low * base - 1)
    sides = (high - low + 1).astype(np.float64)
    choices = np.minimum(high - low, (shell.most - shell.least) // neighbours(shell, low)) + 1
    with np.errstate(over="ignore", invalid="ignore"):  # of a hundred layers: more candidates than a number can say
        candidates = sides.prod(axis=1, keepdims=True) / sides * choices
    solved = candidates.argmin(axis=1)
    rows = np.arange(len(low))
    return Boxes(low, high, solved, choices[rows, solved], candidates[rows, solved])


def with_ends(shell: Shell, hidden: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
    """All widths, ``[N, k + 2]``: those of the shell's input and output around the hidden ones, ``[N, k]``."""
    first, last = (np.full((len(hidden), 1), width, hidden.dtype) for width in (shell.n_in, shell.n_out))
    return np.concatenate([first, hidden, last], axis=1)


def neighbours(shell: Shell, hidden: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
    """Sum of the widths of the two layers beside each hidden layer, ``[N, k]``."""
    widths = with_ends(shell, hidden)
    return widths[:, :-2] + widths[:, 2:]


def energies(shell: Shell, hidden: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
    """Number of connections of each topology, ``[N]``, from hidden widths ``[N, k]``."""
    widths = with_ends(shell, hidden)
    return np.asarray((widths[:, :-1] * widths[:, 1:]).sum(axis=1))


def _lower_corners(shell: Shell, base: int) -> Integers | None:
    """Lower corners of the boxes that aren't all above the shell; None if they are too many."""
    powers = [1]
    while powers[-1] * base <= shell.most:
        powers.append(powers[-1] * base)
    sides = np.array(powers, dtype=np.float64)
    columns: list[Numbers] = []
    placed, last = np.zeros(1), np.full(1, float(shell.n_in))  # connections of each corner so far, and its last width
    for layer in range(shell.depth):
        energy = placed[:, None] + last[:, None] * sides
        # the layers to come are one neuron wide at least
        after = shell.depth - layer - 1
        behind = sides + (after - 1.0) + shell.n_out if after else sides * shell.n_out
        rows, chosen = np.nonzero(energy + behind <= _above(shell.most))
        if len(rows) > _MOST_BOXES:
            return None
        columns = [*(column[rows] for column in columns), sides[chosen]]
        placed, last = energy[rows, chosen], sides[chosen]
    return np.stack(columns, axis=1).astype(np.int64)


def _tightened(shell: Shell, low: Integers, high: Integers) -> tuple[Integers, Integers]:
    """Cut off what the energy forbids even where the other layers are as narrow, or as wide, as the box allows."""
    corner = low.astype(np.float64)
    room = (_above(shell.most) - energies(shell, corner))[:, None] / neighbours(shell, corner)
    high = np.minimum(high, low + np.floor(room).astype(np.int64))
    corner = high.astype(np.float64)
    excess = energies(shell, corner) - shell.least * (1.0 - _SLACK)
    kept = excess >= 0.0
    low, high, corner, excess = low[kept], high[kept], corner[kept], excess[kept]
    spare = np.floor(excess[:, None] / neighbours(shell, corner))
    return np.maximum(low, high - np.minimum(spare, corner).astype(np.int64)), high


def _above(energy: int) -> float:
    return energy * (1.0 + _SLACK)
