"""Random feed-forward topologies of one number of connections."""

from __future__ import annotations

import math

import numpy as np

from thermo_callbacks.functional.topology.boxes import Integers, covering_boxes, energies, neighbours, with_ends
from thermo_callbacks.functional.topology.shell import Shell, whole_number

_BATCH = 1 << 17  # candidates computed together: some tens of megabytes
MOST_CANDIDATES = 1 << 27
"""Most candidates that a sampler draws, some thirty seconds' work."""
_LARGEST = 1 << 60  # numbers of connections up to it, and sums of some, fit 64 bits


class ShellSampler:
    """Draws topologies of a shell, each equally probable, and estimates how many there are."""

    def __init__(self, shell: Shell, seed: int) -> None:
        for name in ("most", "n_in", "n_out"):
            if getattr(shell, name) >= _LARGEST:
                raise ValueError(f"{name} must be below 2**60 for sampling, got {getattr(shell, name)}")
        self._shell, self._random = shell, np.random.default_rng(seed)
        self._boxes = covering_boxes(shell)
        with np.errstate(over="ignore", invalid="ignore"):
            self.candidates = float(self._boxes.candidates.sum())
        self.tried = self.accepted = 0  # candidates so far, and those that were topologies of the shell

    def draw(self, count: int, most_candidates: int = MOST_CANDIDATES) -> Integers:
        """Draw independent topologies ``[count, k + 2]``; fewer once ``most_candidates`` were tried in all."""
        found, missing = [np.empty((0, self._shell.depth), dtype=np.int64)], count
        # more candidates than a number can say: none of them would be a topology
        while missing > 0 and 0.0 < self.candidates < math.inf and self.tried < most_candidates:
            accepted = self._accepted()
            found.append(accepted[:missing])
            missing -= len(found[-1])
        return with_ends(self._shell, np.concatenate(found))

    @property
    def size(self) -> float:
        """Estimated number of topologies in the shell; NaN before a draw."""
        if not self.candidates:
            return 0.0
        return self.candidates * self.accepted / self.tried if self.tried else math.nan

    @property
    def size_error(self) -> float:
        """Standard error of :attr:`size`; NaN where no topology was found among the candidates."""
        if not self.candidates:
            return 0.0
        return self.size * math.sqrt(1.0 / self.accepted - 1.0 / self.tried) if self.accepted else math.nan

    def _accepted(self) -> Integers:
        """The topologies in a batch of candidates, each candidate being as probable as any other."""
        shell, boxes = self._shell, self._boxes
        box = self._random.choice(len(boxes.low), _BATCH, p=boxes.candidates / self.candidates)
        hidden = self._random.integers(boxes.low[box], boxes.high[box], endpoint=True)
        choice = self._random.integers(0, boxes.choices[box])
        hidden[np.arange(_BATCH), boxes.solved[box]] = 0
        # whole numbers may overflow beyond the most connections, floating point can't
        possible = energies(shell, hidden.astype(np.float64)) <= 1.001 * shell.most
        box, hidden, choice = box[possible], hidden[possible], choice[possible]
        rows, solved = np.arange(len(box)), boxes.solved[box]
        each, placed = neighbours(shell, hidden)[rows, solved], energies(shell, hidden)
        width = np.maximum(-((placed - shell.least) // each), boxes.low[box, solved]) + choice
        hidden[rows, solved] = width
        accepted: Integers = hidden[width <= np.minimum((shell.most - placed) // each, boxes.high[box, solved])]
        self.tried += _BATCH
        self.accepted += len(accepted)
        return accepted


def sample_isoenergetic(
    n_in: int, n_out: int, depth: int, connections: int, count: int, *, tolerance: float = 0.0, seed: int = 0
) -> list[tuple[int, ...]]:
    r"""Draw feed-forward topologies with a given number of connections, each with the same probability.

    The distribution is uniform over the shell that :func:`isoenergetic` lists. Disjoint boxes, with powers of two as
    corners, cover the shell. A candidate is a box, a width from it for every layer but one, and a number from 0 up to
    the most widths that are left for that layer by the others and the energy in this box, without a tolerance always 0.
    The candidate stands for the width with that number, if there is one in the box. So each topology of the shell
    belongs to exactly one candidate; candidates are drawn uniformly, and those that stand for none are dropped: what
    is left is uniform, without bias for any shell. The layer that is solved for is the one with the fewest candidates.

    One candidate in a hundred to a thousand is a topology for 3 to 6 hidden layers, and some 3e6 candidates a second
    are looked at. Beyond 8 hidden layers topologies become too rare among them to be found, beyond 10 with a tolerance
    of a per cent.

    Args:
        n_in: Width :math:`n_0` of the input.
        n_out: Width :math:`n_{k+1}` of the output.
        depth: Number k of hidden layers, at least 1.
        connections: Connections E.
        count: How many topologies to draw.
        tolerance: Relative tolerance of E, as in :func:`isoenergetic`.
        seed: Seed of the draws; the same seed gives the same topologies.

    Returns:
        Widths :math:`(n_0, n_1, \dots, n_k, n_{k+1})`, drawn independently, so that one may come twice.

    Raises:
        ValueError: If an argument is out of its range, connections or ends aren't below 2**60, or fewer topologies are
            found among 1e8 candidates than asked for, as for an empty shell.

    Example:
        >>> from thermo_callbacks.functional.topology import isoenergetic
        >>> drawn = sample_isoenergetic(4, 2, 2, 40, 1000, seed=1)
        >>> sorted(set(drawn)) == list(isoenergetic(4, 2, 2, 40))
        True
    """
    shell = Shell(n_in, n_out, depth, connections, tolerance)
    wanted = whole_number("count", count)
    sampler = ShellSampler(shell, whole_number("seed", seed, 0))
    drawn = sampler.draw(wanted)
    if len(drawn) < wanted:
        raise ValueError(
            f"connections must leave topologies to be found, got {connections} with a tolerance of {tolerance:g}: "
            f"{sampler.accepted} of {wanted} came up among {sampler.tried} candidates; give other connections, "
            "a larger tolerance or fewer layers"
        )
    return [tuple(map(int, widths)) for widths in drawn]
