"""Values of a monitor that was copied before it was trained with: some libraries give a Trainer copies of callbacks."""

from __future__ import annotations

import uuid
from typing import Protocol
from weakref import WeakValueDictionary

from thermo_callbacks.catalog import Scalars


class HasValues(Protocol):
    """Keeps the last values of a run."""

    @property
    def values(self) -> Scalars:
        """Tag to value."""


class LastValues:
    """Last values of a callback that keeps nothing else with them."""

    def __init__(self) -> None:
        self.values: Scalars = {}


class Copies:
    """What a monitor and its copies in this process share: which of them began a fit last.

    Whoever gives callbacks to a library that copies them has the original in hand, which no hook ever reaches.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = uuid.uuid4().hex if token is None else token
        self._last: HasValues | None = None
        _KNOWN[self._token] = self

    def __copy__(self) -> Copies:
        """The same object: copies share it."""
        return self

    def __deepcopy__(self, _: object) -> Copies:
        """The same object: copies share it."""
        return self

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """The same object where it is unpickled in this process, and a new one elsewhere."""
        return _find, (self._token,)

    def begin_fit(self, values: HasValues) -> None:
        """A monitor with these values begins a fit."""
        self._last = values

    def latest(self, own: HasValues, *, fitted: bool) -> Scalars:
        """A monitor's own values if it was fitted itself, else those of the copy that was fitted last."""
        return own.values if fitted or self._last is None else self._last.values


_KNOWN: WeakValueDictionary[str, Copies] = WeakValueDictionary()


def _find(token: str) -> Copies:
    found = _KNOWN.get(token)
    return Copies(token) if found is None else found
