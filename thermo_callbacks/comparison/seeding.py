"""Seed initial weights and order of the data, independently of what the activation draws."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from typing import Any

import torch

from thermo_callbacks.callbacks.lightning_names import (
    CombinedLoader,
    LightningDataModule,
    is_overridden,
    isolate_rng,
    seed_everything,
)

_ENVIRONMENT = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all generators of random numbers, and leave them as they were."""
    environment = {name: os.environ.get(name) for name in _ENVIRONMENT}
    with isolate_rng():
        seed_everything(seed, workers=True, verbose=False)
        try:
            yield
        finally:
            for name, value in environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class DataOrder:
    """Gives the loaders of a run generators of their own, and takes them away again.

    Without one, a loader draws from the generator that dropout and random activations draw from, and its order would
    depend on them; one that the person gave would go on from run to run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._before: list[tuple[Any, Any]] = []

    def impose(self, loaders: Any) -> Any:
        """Give generators to loaders, in whatever form a Trainer takes them."""
        for place, loader in enumerate(CombinedLoader(loaders, "min_size").flattened if loaders is not None else []):
            sampler, batch_sampler = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
            parts: tuple[Any, ...] = (loader, sampler, getattr(batch_sampler, "sampler", None))
            for part in parts:
                if hasattr(part, "generator"):
                    self._before.append((part, part.generator))
                    part.generator = torch.Generator().manual_seed(self._seed + place)
        return loaders

    def impose_on_module(self, data: LightningDataModule) -> LightningDataModule:
        """Copy a data module, which holds the same data, and give its loaders generators."""
        ordered = copy.copy(data)
        for name in ("train_dataloader", "val_dataloader"):
            if is_overridden(name, data):
                give = getattr(ordered, name)  # bound to the copy, on which the Trainer calls setup
                setattr(ordered, name, lambda give=give: self.impose(give()))
        return ordered

    def lift(self) -> None:
        """Give the loaders their own generators back."""
        while self._before:
            part, generator = self._before.pop()
            part.generator = generator
