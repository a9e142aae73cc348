"""The topologies of one shell side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from thermo_callbacks.functional.topology.boxes import Integers
from thermo_callbacks.functional.topology.quantities import Quantities, quantities
from thermo_callbacks.functional.topology.sampling import MOST_CANDIDATES, ShellSampler
from thermo_callbacks.functional.topology.shell import Shell, whole_number

Order = Literal["disorder", "efficiency", "stability"]
"""What topologies can be ranked by."""
ORDERS: tuple[Order, ...] = get_args(Order)

_MOST_LISTED = 200_000  # some seconds to list and to rank
_MOST_TRIALS = 500_000_000  # topologies times the root of E: divisions by trial, some seconds as well
_PILOT_DRAWS = 200  # they decide between a list and a sample
_PILOT = 1 << 21  # candidates for them at most, a second or so


@dataclass(frozen=True)
class Survey:
    """Topologies of a shell of k hidden layers, with their quantities.

    Attributes:
        shell: The shell.
        widths: All of them, or those that were drawn, in ascending order and each once, shape ``[N, k + 2]``.
        quantities: Their quantities.
        drawn: Number of independent draws, of which those that came twice are in ``widths`` once; None for a list of
            all.
        size: Number of topologies in the shell, estimated where they were drawn.
        size_error: Its standard error, 0 for a list of all.
    """

    shell: Shell
    widths: Integers
    quantities: Quantities
    drawn: int | None
    size: float
    size_error: float

    @property
    def connections(self) -> Integers:
        """Connections of the topologies, shape ``[N]``."""
        return np.asarray((self.widths[:, :-1] * self.widths[:, 1:]).sum(axis=1))

    def ranked(self, by: Order) -> Integers:
        """Rank the topologies by a quantity.

        Args:
            by: Name of the quantity.

        Returns:
            Rows of ``widths``, the highest value first; equal ones by their widths, those without a value at the end.

        Raises:
            ValueError: If the name is another.
        """
        if by not in ORDERS:
            raise ValueError(f"by must be one of {', '.join(ORDERS)}, got {by!r}")
        return np.argsort(-getattr(self.quantities, by), kind="stable")


def survey(shell: Shell, *, samples: int = 10_000, seed: int = 0, most_candidates: int = MOST_CANDIDATES) -> Survey:
    """List a shell with the quantities of its topologies, or draw from it if it is too large to list.

    All are listed where an estimate of their number from a pilot draw leaves no more than 200,000, and without a
    tolerance always up to two hidden layers, where there are no more than a number has divisors. Otherwise they are
    drawn as by :func:`sample_isoenergetic`. The top of n draws is the top of the shell only in the sense that it lies
    in the shell's highest 3/n, with 95 % probability, whatever the quantity.

    Args:
        shell: The shell.
        samples: Draws from a shell that is too large to list.
        seed: Seed of the draws.
        most_candidates: Candidates for them, some 3e6 a second; fewer draws come back where they are short.

    Returns:
        The survey, without rows where the shell is empty or nothing was found.

    Raises:
        ValueError: If ``samples``, ``seed`` or ``most_candidates`` is out of range, or the shell's connections or
            ends aren't below 2**60.
    """
    wanted = whole_number("samples", samples)
    whole_number("most_candidates", most_candidates)
    sampler = ShellSampler(shell, whole_number("seed", seed, 0))
    if _listable(shell, sampler):
        widths = np.array(list(shell), dtype=np.int64).reshape(-1, shell.depth + 2)
        return Survey(shell, widths, quantities(widths), None, float(len(widths)), 0.0)
    # where the pilot found none, a longer search finds too few to be of use
    hopeless = sampler.tried and not sampler.accepted
    drawn = sampler.draw(wanted, sampler.tried if hopeless else most_candidates)
    widths = np.unique(drawn, axis=0)
    return Survey(shell, widths, quantities(widths), len(drawn), sampler.size, sampler.size_error)


def _listable(shell: Shell, sampler: ShellSampler) -> bool:
    if shell.depth <= 2 and shell.least == shell.most:
        return True
    if sampler.candidates > _MOST_LISTED:
        sampler.draw(_PILOT_DRAWS, _PILOT)
    # three standard errors above the estimate; with nothing found, what 95 % probability leaves
    share = (sampler.accepted + 3.0 * math.sqrt(sampler.accepted) + 3.0) / sampler.tried if sampler.tried else 1.0
    largest = sampler.candidates * share
    return largest <= _MOST_LISTED and largest * math.isqrt(shell.most) <= _MOST_TRIALS
