"""What the runs learn from: digits, one-dimensional digits, diabetes, a made-up language; and ways to spoil it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from mnist1d.data import get_dataset_args, make_dataset
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor

from faults.scores import unexplained, wrong

Score = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Data:
    """Inputs and targets to train on and to test with, and what a run is judged by: lower is better."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    score: Score

    def take(self, chosen: Tensor) -> Data:
        """With these training samples only, in this order."""
        return replace(self, inputs=self.inputs[chosen], targets=self.targets[chosen])


def split(inputs: Tensor, targets: Tensor, train: int, score: Score) -> Data:
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    inputs, targets = inputs[order], targets[order]
    return Data(inputs[:train], targets[:train], inputs[train:], targets[train:], score)


@functools.cache
def digits() -> Data:
    found: Any = load_digits()
    pixels = torch.as_tensor(found.data, dtype=torch.float32)
    return split((pixels - pixels.mean()) / pixels.std(), torch.as_tensor(found.target), 1_280, wrong)


@functools.cache
def waves() -> Data:
    """mnist1d: digits as curves of 40 points, shifted, sheared and noisy. Harder than images of digits."""
    arguments = get_dataset_args()
    arguments.num_samples = 2_000
    found = make_dataset(arguments)
    inputs = torch.as_tensor(found["x"], dtype=torch.float32)
    return split(inputs / inputs.std(), torch.as_tensor(found["y"]), 1_280, wrong)


@functools.cache
def diabetes() -> Data:
    inputs, targets = (torch.as_tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
    standard = ((part - part.mean(0)) / part.std(0) for part in (inputs, targets[:, None]))
    return split(*standard, 320, unexplained)


@functools.cache
def images() -> Data:
    """Digits that are to be given back as they came."""
    known = digits()
    return replace(known, targets=known.inputs, test_targets=known.test_inputs, score=unexplained)


SYMBOLS, LENGTH = 12, 24


@functools.cache
def text() -> Data:
    """A made-up language of 12 symbols, of which each depends on the two before it."""
    chance = torch.Generator().manual_seed(0)
    rules = torch.distributions.Dirichlet(torch.full((SYMBOLS,), 0.15))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        table = rules.sample(torch.Size((SYMBOLS, SYMBOLS)))
    lines = torch.randint(SYMBOLS, (960, 2), generator=chance)
    while lines.shape[1] <= LENGTH:
        following = torch.multinomial(table[lines[:, -2], lines[:, -1]], 1, generator=chance)
        lines = torch.cat([lines, following], 1)
    return split(lines[:, :-1].contiguous(), lines[:, 1:].contiguous(), 800, wrong)


@functools.cache
def skewed() -> Data:
    """Digits of which the first five are ten times as frequent as the others."""
    known, chance = digits(), torch.Generator().manual_seed(1)
    return known.take(((known.targets < 5) | (torch.rand(len(known.targets), generator=chance) < 0.1)).nonzero()[:, 0])


def scaled(data: Data, scale: float) -> Data:
    return replace(data, inputs=data.inputs * scale, test_inputs=data.test_inputs * scale)


def misaligned(data: Data) -> Data:
    """Each sample has the label of the one before it, as from two files of which one has a head line."""
    return replace(data, targets=data.targets.roll(1, 0))


def in_order(data: Data) -> Data:
    """Sorted by label."""
    return data.take(data.targets.argsort(stable=True))


def first(data: Data, count: int) -> Data:
    return data.take(torch.arange(count))


def noisy_labels(data: Data, share: float) -> Data:
    """With any label in place of the right one, at a share of the samples."""
    chance = torch.Generator().manual_seed(2)
    any_label = data.targets[torch.randperm(len(data.targets), generator=chance)]
    struck = torch.rand(len(data.targets), generator=chance) < share
    return replace(data, targets=torch.where(struck, any_label, data.targets))


def with_broken_rows(data: Data, every: int) -> Data:
    """One sample in so many is no number."""
    inputs = data.inputs.clone()
    inputs[every - 1 :: every] = torch.nan
    return replace(data, inputs=inputs)
