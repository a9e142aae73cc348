"""Which activations are shown together, from pass to pass."""

from __future__ import annotations

from thermo_callbacks.callbacks.extra_passes.activation_groups import ActivationGroups

NAMES = [f"net.{block}.{kind}" for block in range(10) for kind in ("relu", "gelu")]


def test_few_are_shown_one_by_one() -> None:
    groups = ActivationGroups(20)
    assert groups.gather(NAMES) == {name: [name] for name in NAMES}
    assert groups.made == {}
    assert ActivationGroups(None).gather(NAMES) == {name: [name] for name in NAMES}


def test_many_are_grouped_once_for_the_run() -> None:
    groups = ActivationGroups(5)
    found = groups.gather(NAMES)
    assert list(found) == [f"net.{2 * k}-{2 * k + 1}" for k in range(5)]
    assert [name for members in found.values() for name in members] == NAMES
    assert groups.gather(NAMES[:4]) == {"net.0-1": NAMES[:4]}  # a pass that calls a few of them
    resumed = ActivationGroups(5)
    resumed.load_state_dict(groups.state_dict())
    assert resumed.gather(NAMES[8:10]) == {"net.4-5": NAMES[8:10]}


def test_newcomers_join_the_nearest_group() -> None:
    groups = ActivationGroups(5)
    groups.gather(NAMES)
    found = groups.gather([*NAMES, "net.3.tanh", "head.relu"])
    assert list(found) == [f"net.{2 * k}-{2 * k + 1}" for k in range(5)]
    assert found["net.2-3"] == [*NAMES[4:8], "net.3.tanh"]
    assert "head.relu" in groups.made["net.0-1"]
    assert groups.gather([*NAMES, "head.relu"]).keys() == found.keys()


def test_many_that_are_seen_bit_by_bit_are_grouped_too() -> None:
    groups = ActivationGroups(16)
    assert groups.gather(NAMES[:10]) == {name: [name] for name in NAMES[:10]}
    assert list(groups.gather(NAMES[10:])) == [f"net.{block}" for block in range(5, 10)]
