"""Points that all processes pass or none, where they work on something together."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import torch

from thermo_callbacks.probes.sharding import sum_over_processes


class FailedElsewhereError(RuntimeError):
    """Another process can't go on."""


class Together:
    """A block of work in which processes wait for each other, that ends in all of them where it fails in one.

    All that may fail stands between two points: a process in which something has failed takes part in the next point,
    tells so, and leaves the block, and the others leave it there. What follows a point has to be what the processes
    wait for each other in, and nothing else: the passes of a sharded module, or a sum. The end of the block is a point
    as well. As a context manager within the block, :attr:`pass_` has a point before and one after what it encloses.

    Args:
        device: Where the processes tell each other.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._over = True
        self.pass_ = _Pass(self)

    def __enter__(self) -> Self:
        self._over = False
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.point()
        elif not self._over and issubclass(kind, Exception):
            self._tell(failed=True)
        self._over = True

    def point(self) -> None:
        """Go on where all processes do.

        Raises:
            FailedElsewhereError: If one of them can't.
        """
        if self._tell(failed=False):
            raise FailedElsewhereError("it failed in another process")

    def _tell(self, *, failed: bool) -> bool:
        self._over = sum_over_processes(torch.tensor([float(failed)]), self._device).item() > 0.0
        return self._over


class _Pass:
    """A pass in which processes wait for each other."""

    def __init__(self, together: Together) -> None:
        self._together = together

    def __enter__(self) -> None:
        self._together.point()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._together.point()
