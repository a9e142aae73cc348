"""suggest_learning_rate: the rate at which steps stop being small, from a short run with a rising rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from thermo_callbacks.callbacks.acting.rate_rise import EVERY, RateMeasurement, RateRise
from thermo_callbacks.callbacks.acting.trainer_copy import copied, on_one_device, small_trainer
from thermo_callbacks.callbacks.arguments import Loss, check_callable
from thermo_callbacks.display.figures.rate_curve import rate_curve
from thermo_callbacks.functional.efficiency_limit import (
    POOLED_TRANSFER,
    efficiency_limit,
    first_above,
    pooled_efficiency,
)
from thermo_callbacks.probes.guard import preserved_random_state
from thermo_callbacks.probes.other_fits import is_undisturbed

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure

LINE = 0.9
"""Step efficiency at the suggestion."""
LINE_SEARCH = 0.5
"""Step efficiency of steps as long as a line search would make them."""
_FEWEST = 40


@dataclass(frozen=True)
class LearningRateSuggestion:
    """What :func:`suggest_learning_rate` found.

    Attributes:
        suggestion: The largest rate at which steps are still small against the curvature, efficiency 0.9, and still
            do no harm to other batches than their own, transfer not clearly below 0. NaN where no such rate was found:
            ``reason`` says why.
        lower: Lower end of its 95 % interval; where transfer limits it, the rate where that goes below 0 at all.
        upper: Upper end; where transfer limits it, the rate that efficiency alone would allow.
        limited_by: Which of the two is the smaller rate: ``"efficiency"`` or ``"transfer"``; empty without one.
        line_search: The rate at which steps are as long as a line search would make them, efficiency 1/2: more is too
            much. NaN if it was not reached.
        reason: Why there is no suggestion; empty if there is one.
        measurements: Energy balance of each measured step.
    """

    suggestion: float
    lower: float
    upper: float
    limited_by: str
    line_search: float
    reason: str
    measurements: tuple[RateMeasurement, ...]

    def plot(self) -> Figure:
        """Step efficiency and transfer against the rate, and the suggestion with its interval.

        Returns:
            A figure of matplotlib, which no window shows by itself.
        """
        columns = torch.tensor(self.measurements, dtype=torch.float64).reshape(-1, 4).T
        marks = {"suggestion": self.suggestion, "line search": self.line_search}
        return rate_curve(*columns, marks=marks, interval=(self.lower, self.upper), lines=(LINE, LINE_SEARCH))


def suggest_learning_rate(
    trainer: Any,
    module: Any,
    train_dataloaders: Any = None,
    *,
    datamodule: Any = None,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 300,
    loss_fn: Loss | None = None,
) -> LearningRateSuggestion:
    r"""Suggest a learning rate by the efficiency of steps in a short run in which the rate rises.

    Step efficiency is what a step does to the loss of its own batch over what the gradient promises. Near 1 over
    decades of rates, it falls within one, where steps become large against the curvature, whatever the optimizer. The
    suggestion is where it is 0.9, or where the same step clearly raises the loss of the *next* batch (transfer), if
    that comes first, as it may with small batches. Lightning's ``lr_find`` looks for the steepest descent of the loss
    of successive batches, which is noise where batches are small.

    It trains a copy of the module in a small Trainer of its own with the Trainer's device, precision, clipping and
    accumulation: module, Trainer, optimizers, loaders and random numbers are left as they are, bit for bit. The data is
    copied too, tensors and arrays of 1 MB and more excepted. Other callbacks and schedulers take no part. It costs as
    much as some 600 to 900 steps with the defaults.

    It is about the start of a run, at the weights that the module has now: a network that needs a warm-up takes a
    higher rate after it.

    Args:
        trainer: The Trainer that is to train, in one process.
        module: The module.
        train_dataloaders: Training data, as for ``trainer.fit``.
        datamodule: Or a data module.
        lowest: First rate, of the first parameter group; others keep their proportion to it.
        highest: Last rate.
        steps: Steps from the one to the other, at least 40.
        loss_fn: Loss of module and batch, where the training step can't be run again.

    Returns:
        Suggestion, interval, and what was measured.

    Raises:
        ValueError: If an argument is out of its range, the Trainer has several processes, something can't be copied, a
            monitored run trains in another thread, or the module steps its optimizers by hand and there is no
            ``loss_fn``.

    Example::

        found = suggest_learning_rate(trainer, module, train_loader)
        module.learning_rate = found.suggestion
        found.plot().savefig("rates.png")
    """
    _check(trainer, module, lowest, highest, steps, loss_fn)
    ratio = (highest / lowest) ** (1.0 / (steps - 1))
    rise = RateRise([lowest * ratio**step for step in range(steps)], loss_fn)
    with preserved_random_state(trainer.strategy.root_device):
        if not is_undisturbed():
            raise ValueError(
                "suggest_learning_rate would take back what a monitored run in another thread of this process does to "
                "random numbers: call it when that has ended"
            )
        twin, data, loaders = copied("module", module), copied("datamodule", datamodule), _loaders(train_dataloaders)
        small_trainer(trainer, rise, steps + EVERY).fit(twin, loaders, datamodule=data)
    return _suggestion(rise)


def _loaders(loaders: Any) -> Any:
    if isinstance(loaders, list | tuple):
        return type(loaders)(map(_loaders, loaders))
    if isinstance(loaders, dict):
        return {name: _loaders(loader) for name, loader in loaders.items()}
    return copied("train_dataloaders", loaders)


def _check(trainer: Any, module: Any, lowest: float, highest: float, steps: int, loss_fn: Loss | None) -> None:
    for name, rate in {"lowest": lowest, "highest": highest}.items():
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 < rate < math.inf:
            raise ValueError(f"{name} must be a learning rate above 0, got {rate!r}")
    if lowest >= highest:
        raise ValueError(f"highest must be above lowest={lowest!r}, got {highest!r}")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < _FEWEST:
        raise ValueError(f"steps must be a whole number of at least {_FEWEST}, got {steps!r}")
    check_callable("loss_fn", loss_fn, "a function of the module and a batch that returns the loss")
    if not on_one_device(trainer):
        raise ValueError(
            f"trainer has {trainer.world_size} processes, and suggest_learning_rate works in one: give it a Trainer "
            "with devices=1, and scale the rate by hand if the batch grows with the processes"
        )
    if not module.automatic_optimization and loss_fn is None:
        raise ValueError(
            f"loss_fn is missing: {type(module).__name__} steps its optimizers by hand, so its training step can't be "
            "run again; give a function of module and batch that returns the loss"
        )


def _suggestion(rise: RateRise) -> LearningRateSuggestion:
    measured = tuple(one for one in rise.measured if all(map(math.isfinite, one)) and one.heat < 0.0)
    if rise.reason is not None or len(measured) < POOLED_TRANSFER + 2:  # values in a row
        reason = rise.reason or f"only {len(measured)} steps promised a descent: look at the data and the loss"
        return LearningRateSuggestion(math.nan, math.nan, math.nan, "", math.nan, reason, measured)
    rates, heat, work, fresh = torch.tensor(measured, dtype=torch.float64).T
    found, search = (efficiency_limit(rates, work, heat, line=line) for line in (LINE, LINE_SEARCH))
    harm = efficiency_limit(rates, fresh, heat, line=0.0, pooled=POOLED_TRANSFER)
    # transfer scatters about 0 where there is little signal: only what is clearly below it counts
    never_above = first_above(pooled_efficiency(work, heat).interval()[0], LINE) is None
    if math.isfinite(harm.upper) and not harm.upper >= found.value and not never_above:
        ends = (harm.value, harm.upper if math.isnan(found.value) else found.value)
        return LearningRateSuggestion(harm.upper, *ends, "transfer", search.value, "", measured)
    if math.isnan(found.value):
        return LearningRateSuggestion(*found, "", search.value, _why_not(measured, never_above), measured)
    return LearningRateSuggestion(*found, "efficiency", search.value, "", measured)


def _why_not(measured: Sequence[RateMeasurement], never_above: bool) -> str:
    if never_above:
        return (
            f"step efficiency is nowhere clearly above {LINE}: choose a smaller lowest, or a larger one where the "
            "changes of the loss drown in rounding"
        )
    return (
        f"step efficiency is not below {LINE} up to the highest rate that was tried, {measured[-1].learning_rate:.3g}: "
        "choose a larger highest, or look whether the network learns at all"
    )
