"""Networks of the command line."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thermo_callbacks.commands.compare.classifier import ClassifierFactory
from thermo_callbacks.commands.compare.data import SHAPES
from thermo_callbacks.commands.compare.models import MODELS, NetworkSettings
from thermo_callbacks.commands.compare.settings import SIZES


def settings(model, shape, depth=3, width=8):
    return NetworkSettings(model=model, shape=shape, classes=10, depth=depth, width=width)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_each_network_takes_all_data_and_has_an_activation_at_each_depth(model, shape):
    torch.manual_seed(0)
    network = MODELS[model](settings(model, shape), nn.Tanh)
    inputs = torch.randn(6, *shape, requires_grad=True)
    logits = network(inputs)
    assert logits.shape == (6, 10)
    logits.sum().backward()
    assert inputs.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in network.parameters())
    activations = sum(isinstance(each, nn.Tanh) for each in network.modules())
    assert activations == 3 * (2 if model == "resnet" else 1)


@pytest.mark.parametrize("model", MODELS)
def test_samples_do_not_mix_in_evaluation(model):
    torch.manual_seed(0)
    network = MODELS[model](settings(model, (1, 8, 8)), nn.ReLU).eval()
    inputs = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(network(inputs)[:1], network(inputs[:1]))


def test_transformer_reads_rows_and_slices():
    for shape, tokens, size in (((1, 28, 28), 28, 28), ((1, 40), 10, 4)):
        network = MODELS["transformer"](settings("transformer", shape), nn.ReLU)
        assert network.position.shape == (tokens, 8)
        assert network.embed.in_features == size


def test_transformer_tells_tokens_apart():
    torch.manual_seed(0)
    network = MODELS["transformer"](settings("transformer", (1, 40)), nn.GELU)
    inputs = torch.randn(1, 1, 40)
    rolled = inputs.roll(4, dims=-1)
    assert not torch.allclose(network(inputs), network(rolled))


def test_straight_way_of_a_residual_block():
    torch.manual_seed(0)
    block = MODELS["resnet"](settings("resnet", (1, 28, 28)), nn.ReLU)[1]
    for parameter in block.conv2.parameters():
        parameter.data.zero_()
    features = torch.randn(2, 8, 28, 28)
    assert torch.equal(block(features), nn.functional.avg_pool2d(features, 2))


def test_classifier_copies_the_activation_to_each_place_and_remembers_its_settings():
    activation = nn.PReLU()
    factory = ClassifierFactory(network=settings("mlp", (1, 8, 8)), learning_rate=0.125)
    classifier = factory(activation)
    found = {id(each) for each in classifier.modules() if isinstance(each, nn.PReLU)}
    assert len(found) == 3
    assert id(activation) not in found
    assert dict(classifier.hparams) == {"model": "mlp", "depth": 3, "width": 8, "learning_rate": 0.125}
    optimizer = classifier.configure_optimizers()
    assert (type(optimizer), optimizer.defaults["lr"]) == (torch.optim.Adam, 0.125)


def test_sizes_are_known_for_each_network():
    assert set(SIZES) == set(MODELS)
