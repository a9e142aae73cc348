"""Records of runs from JSON that anybody may have written, checked field by field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, get_args

from thermo_callbacks.comparison.records import PathPoint, RunRecord, Status

_ENGINES = ("passive", "driven", "")


def settings_in(found: Any) -> dict[str, str]:
    """Settings of a run: a table of texts."""
    return {_text(topic, "settings"): _text(value, "settings") for topic, value in _table(found, "settings").items()}


def record_in(found: Any) -> RunRecord:
    """Record of a run."""
    record = _table(found, "record")
    names = [field.name for field in fields(RunRecord)]
    missing, unknown = [name for name in names if name not in record], [name for name in record if name not in names]
    if missing or unknown:
        raise ValueError(f"its record lacks {missing} and has {unknown} besides"[:200])
    return RunRecord(**{name: _READERS[name](record[name], name) for name in names})


def _table(found: Any, name: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no table, but {found!r:.40}")
    return found


def _text(found: Any, name: str) -> str:
    if not isinstance(found, str):
        raise ValueError(f"{name} is no text, but {found!r:.40}")
    return found


def _number(found: Any, name: str) -> float:
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise ValueError(f"{name} holds {found!r:.40} in the place of a number")
    try:
        return float(found)
    except OverflowError as fault:
        raise ValueError(f"{name} holds a number of {len(str(found))} digits") from fault


def _whole(found: Any, name: str) -> int:
    if isinstance(found, bool) or not isinstance(found, int):
        raise ValueError(f"{name} holds {found!r:.40} in the place of a whole number")
    return found


def _rows(found: Any, name: str, length: int) -> list[Sequence[Any]]:
    if not isinstance(found, list) or not all(isinstance(row, list) and len(row) == length for row in found):
        raise ValueError(f"{name} is no list of rows of {length}")
    return found


def _choice(names: Sequence[str]) -> Callable[[Any, str], Any]:
    def read(found: Any, name: str) -> str:
        if found not in names:
            raise ValueError(f"{name} is {found!r:.40}, and none of {', '.join(filter(None, names))}")
        return str(found)

    return read


def _values(found: Any, name: str) -> dict[str, float]:
    return {key: _number(value, name) for key, value in _table(found, name).items()}


def _pairs(found: Any, name: str) -> list[tuple[str, float]]:
    return [(_text(module, name), _number(value, name)) for module, value in _rows(found, name, 2)]


def _path(found: Any, name: str) -> list[PathPoint]:
    rows = _rows(found, name, 3)
    return [PathPoint(_whole(step, name), _number(first, name), _number(second, name)) for step, first, second in rows]


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "activation": _text,
    "seed": _whole,
    "engine": _choice(_ENGINES),
    "status": _choice(get_args(Status)),
    "message": _text,
    "values": _values,
    "work_efficiency": _pairs,
    "learning_efficiency": _pairs,
    "path": _path,
}
