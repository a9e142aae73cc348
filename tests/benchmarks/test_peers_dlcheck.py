"""What is read in the log of DLCheck, and what it is told to watch."""

from __future__ import annotations

from faults import CASES
from peers_dlcheck import said_of, settings
from peers_record import Said


def test_layers_in_a_log_are_given_their_names():
    module = CASES["sgd"].make(0).module
    said = said_of("Parameter 2 was not updated with training. Confirm.", "warning", module)
    assert said == Said("was not updated with training. Confirm.", "warning", ("net.2.weight",))
    said = said_of("NaN/Inf gradient detected in net.0.bias at batch 7", "critical", module)
    assert said == Said("NaN/Inf gradient at batch", "critical", ("net.0.bias",))
    said = said_of("Layer net.1 has 97.50% dead neurons.", "warning", module)
    assert said == Said("has dead neurons.", "warning", ("net.1",))


def test_only_embeddings_are_left_out_of_the_layers_that_are_watched():
    assert settings(CASES["sgd"].make(0).module) == {}
    lstm = settings(CASES["lstm"].make(0).module)
    assert lstm == {"layers_to_monitor": ["net.lstm", "net.head"]}
