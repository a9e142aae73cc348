"""What a validation step returns, and the data sets that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def check_datasets(datasets: Sequence[int | str]) -> None:
    """Refuse what is no pair of validation dataloaders."""
    pair = isinstance(datasets, Sequence) and not isinstance(datasets, str | bytes) and len(datasets) == 2
    kinds = {type(name) for name in datasets} if pair else set()
    valid = kinds in ({int}, {str}) and datasets[0] != datasets[1]
    if not valid or any(isinstance(name, int) and name < 0 for name in datasets):
        raise ValueError(
            f"datasets must hold two different positions (0, 1) or names ('a', 'b') of validation dataloaders, got "
            f"{datasets!r}"
        )


def places_of(datasets: Sequence[int | str], loaders: Any) -> dict[int, int]:
    """Dataloader positions of sets A and B, as far as they are there."""
    names = list(loaders) if isinstance(loaders, dict) else []
    count = len(loaders) if isinstance(loaders, dict | list | tuple) else 1
    places: dict[int, int] = {}
    for state, name in enumerate(datasets):
        if isinstance(name, str) and name not in names:
            raise ValueError(
                f"datasets holds {name!r}, which is no validation dataloader: choose among {names}, or give the "
                "dataloaders as a dictionary"
            )
        place = names.index(name) if isinstance(name, str) else name
        if place < count:
            places[place] = state
    return places


def read_outputs(outputs: Any) -> tuple[Tensor, Tensor] | None:
    """Losses and outputs in what a validation step returned; None if they are not there."""
    if not isinstance(outputs, dict):
        return None
    losses = outputs.get("losses", outputs.get("loss"))
    logits, residuals = outputs.get("logits"), outputs.get("residuals")
    if not isinstance(losses, Tensor):
        return None
    if not isinstance(logits, Tensor):
        return (_column(losses), _column(residuals)) if isinstance(residuals, Tensor) else None
    logits = _column(logits)
    if logits.ndim == 1:  # the logit of one class of two
        logits = torch.stack([torch.zeros_like(logits), logits], 1)
    return _column(losses), logits


def _column(tensor: Tensor) -> Tensor:
    """``[B, 1]`` as ``[B]``."""
    return tensor.squeeze(1) if tensor.ndim == 2 and tensor.shape[1] == 1 else tensor


def kind_of(outputs: Any) -> str:
    """What a validation step returned, in words."""
    return (
        f"a dictionary with the keys {sorted(map(str, outputs))}" if isinstance(outputs, dict) else repr(type(outputs))
    )
