"""The end of a run of known length: its learning rate falls to almost nothing, and the noise of it goes."""

from __future__ import annotations

from typing import NamedTuple


class CoolDown(NamedTuple):
    """Steps at the end of a run in which its rates fall together.

    Attributes:
        start: Steps that have been made when it begins.
        end: Steps that will have been made at the end.
    """

    start: int
    end: int

    @classmethod
    def planned(cls, end: int | None, share: float) -> CoolDown | None:
        """The last ``share`` of a run that ends after so many steps; None where that is not known, or no step of it."""
        if end is None or not (steps := round(share * end)):
            return None
        return cls(end - steps, end)

    def factor(self, step: int) -> float:
        """What rates are multiplied with when so many steps have been made.

        Returns:
            1 before the cool-down; in it, evenly less with each step, and above 0 at the last one and after it.

        Example:
            >>> [CoolDown(96, 99).factor(step) for step in (95, 96, 97, 98, 99)]
            [1.0, 0.75, 0.5, 0.25, 0.25]
        """
        made = max(0, min(step + 1, self.end) - self.start)
        return 1.0 - made / (self.end - self.start + 1)
