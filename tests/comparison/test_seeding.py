"""Seeds: the same order of the data whatever else is drawn, and nothing left changed."""

from __future__ import annotations

import os
import random

import numpy as np
import torch
from comparison_models import Data, loaders

from thermo_callbacks.comparison.seeding import DataOrder, seeded


def state():
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002  the one that Lightning seeds
    return random.getstate(), numpy_state, torch.get_rng_state().tolist(), dict(os.environ)


def test_seeds_hold_inside_and_nothing_is_left_changed(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "77")
    monkeypatch.delenv("PL_SEED_WORKERS", raising=False)
    before = state()
    drawn = []
    for seed in (1, 1, 2):
        with seeded(seed):
            drawn.append((random.random(), np.random.random(), torch.rand(()).item()))  # noqa: NPY002
    assert drawn[0] == drawn[1]
    assert all(first != other for first, other in zip(drawn[0], drawn[2], strict=True))
    assert state() == before


def order_of(loader):
    return [batch[0][:, 0].tolist() for batch in loader]


def test_order_does_not_depend_on_what_else_is_drawn():
    training, _ = loaders()
    orders = []
    for draws in (0, 3):
        order = DataOrder(5)
        order.impose(training)
        torch.rand(draws)
        orders.append(order_of(training))
        order.lift()
    assert orders[0] == orders[1]
    other = DataOrder(6)
    other.impose(training)
    assert order_of(training) != orders[0]


def test_generator_of_the_person_does_not_go_on_and_is_given_back():
    generator = torch.Generator().manual_seed(3)
    training, _ = loaders(generator)
    before = generator.get_state()
    order = DataOrder(5)
    order.impose(training)
    first = order_of(training)
    order.lift()
    assert training.generator is training.sampler.generator is generator
    assert torch.equal(generator.get_state(), before)
    fresh, _ = loaders()
    DataOrder(5).impose(fresh)
    assert order_of(fresh) == first


def test_data_module_is_copied():
    data = Data()
    ordered = DataOrder(5).impose_on_module(data)
    ordered.setup("fit")
    assert not hasattr(data, "parts")
    training, _ = loaders()
    DataOrder(5).impose(training)
    assert order_of(ordered.train_dataloader()) == order_of(training)
    assert "train_dataloader" not in vars(data)


def test_loaders_in_containers_differ_in_order():
    first, second = loaders()[0], loaders()[0]
    DataOrder(5).impose({"a": first, "b": [second]})
    assert order_of(first) != order_of(second)


def test_no_loader_is_no_error():
    assert DataOrder(5).impose(None) is None
