"""Faults of data, labels and of what is done to them; and of the mode that a network is in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import Tensor, nn

from faults import networks
from faults.case import Case
from faults.data import (
    Data,
    diabetes,
    digits,
    first,
    in_order,
    misaligned,
    noisy_labels,
    scaled,
    waves,
    with_broken_rows,
)
from faults.healthy import RECIPES


def sorted_data(data: Callable[[], Data]) -> Data:
    return in_order(data())


def inverted(inputs: Tensor, targets: Tensor, over: float) -> tuple[Tensor, Tensor]:
    """Dark turns to bright when half of the run is over."""
    return (inputs if over < 0.5 else -inputs), targets


def normalise_with_what_is_known(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def inputs() -> Iterator[Case]:
    def case(name: str, twin: str, cause: str, data: object) -> Case:
        return Case(name, replace(RECIPES[twin], data=data), twin, cause)  # type: ignore[arg-type]

    yield case("inputs_times_1000", "sgd", "input scale", lambda: scaled(digits(), 1e3))
    yield case("inputs_times_1000_adam", "curves", "input scale", lambda: scaled(waves(), 1e3))
    yield case("rows_of_nan", "sgd", "broken data", lambda: with_broken_rows(digits(), 400))
    for name, twin, data in (("sorted_by_label", "sgd", digits), ("sorted_by_label_adam", "curves", waves)):
        recipe = replace(RECIPES[twin], data=functools.partial(sorted_data, data), shuffle=False)
        yield Case(name, recipe, twin, "unshuffled data")
    for name, twin in (("data_shift", "momentum"), ("data_shift_curves", "curves")):
        yield Case(name, replace(RECIPES[twin], batch=inverted), twin, "data shift")


def labels() -> Iterator[Case]:
    def case(name: str, twin: str, cause: str, data: object, steps: int) -> Case:
        return Case(name, replace(RECIPES[twin], data=data, steps=steps), twin, cause)  # type: ignore[arg-type]

    def partly_random() -> Data:
        return noisy_labels(digits(), 0.6)

    yield case("labels_misaligned", "sgd", "wrong labels", lambda: misaligned(digits()), 300)
    yield case("targets_misaligned", "regression_adam", "wrong labels", lambda: misaligned(diabetes()), 300)
    yield case("label_noise", "adam", "wrong labels", partly_random, 300)
    yield case("known_by_heart", "adamw", "overfitting", lambda: first(digits(), 40), 300)
    yield case("known_by_heart_curves", "curves", "overfitting", lambda: first(waves(), 64), 600)


def modes() -> Iterator[Case]:
    twin = "curves_batchnorm"
    yield Case(
        "batch_norm_in_eval_mode", replace(RECIPES[twin], at_start=normalise_with_what_is_known), twin,
        "batch norm in eval mode", ("net.2", "net.5"),
    )  # fmt: skip
    strong = functools.partial(networks.perceptron, 64, 64, 64, 10, dropout=0.95)
    yield Case("dropout_0.95", replace(RECIPES["dropout"], network=strong), "dropout", "dropout too strong")
