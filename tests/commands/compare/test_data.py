"""Data that is not downloaded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thermo_callbacks.commands.compare import data as module
from thermo_callbacks.commands.compare.data import SHAPES, ExampleData, check_installed, load
from thermo_callbacks.commands.compare.settings import INPUTS


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_sizes_and_scale(name):
    training, validation = load(name)
    inputs, classes = training.tensors
    assert inputs.shape == (INPUTS[name], *SHAPES[name])
    assert inputs.dtype == torch.float32
    assert float(inputs.mean()) == pytest.approx(0.0, abs=1e-3)
    assert float(inputs.std()) == pytest.approx(1.0, abs=1e-3)
    for part in (training, validation):
        assert part.tensors[1].unique().tolist() == list(range(10))
    assert len(classes) > 2 * len(validation)


@pytest.mark.parametrize("name", SHAPES)
def test_no_input_is_in_both_parts(name):
    seen = {sample.numpy().tobytes() for sample in load(name)[0].tensors[0]}
    shared = sum(sample.numpy().tobytes() in seen for sample in load(name)[1].tensors[0])
    assert shared == 0


def test_generator_of_sequences_leaves_the_seeds_of_the_process_alone():
    np.random.seed(5)  # noqa: NPY002  the generator in question
    expected = np.random.RandomState(5).random_sample()
    load.cache_clear()
    load("mnist1d")
    assert np.random.random_sample() == expected  # noqa: NPY002


def test_loaders():
    data = ExampleData("digits", 100)
    inputs, classes = next(iter(data.train_dataloader()))
    assert (inputs.shape, classes.shape) == ((100, 1, 8, 8), (100,))
    assert sum(len(batch[1]) for batch in data.val_dataloader()) == 360


@pytest.mark.parametrize(("name", "package"), [("digits", "scikit-learn"), ("mnist1d", "mnist1d")])
def test_missing_package_is_named_with_the_cure(name, package, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=rf"package {package}, and it is not installed: run pip install .*\[demo\]"):
        check_installed(name)


@pytest.mark.parametrize("name", SHAPES)
def test_installed_data_pass(name):
    check_installed(name)
