"""Signal and noise of a run's gradients: windows give products, extra passes what the move between two steps adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.gradient_noise import (
    noise_scale_interval,
    shuffling_bias,
    signal_share_of,
    steady_mean,
)
from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.functional.window.estimates import with_total
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.successive import GradientProducts
from thermo_callbacks.functional.window.temperature import kinetic_temperature_sums
from thermo_callbacks.probes.parameters.stated import largest_rate

WINDOWS = 12
"""Windows that a mean may reach back over, half of the shortest planned run."""
PASSES = 6
"""Extra passes that the shift is a mean of: its error falls slowly, and the curvature that makes it changes."""
DOUBT = 0.75
"""Part of what drawing without replacement can do that is in doubt after it was corrected for: curvatures differ."""


class GradientNoise:
    """Signal share and noise scale of the layers of one optimizer, and of all of them in the last column."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._shares: list[Tensor] = []  # each a window's, [L + 1]
        self._variances: list[Tensor] = []
        self._degrees: Tensor | None = None  # of freedom of the last window's share
        self._shifts: list[Tensor] = []  # each an extra pass', per unit of learning rate, [L + 1]
        self._rates: list[float] = []  # the learning rates of those passes
        self._batch_size = 1.0
        self._at_one_point = False

    def add_pass(self, names: Sequence[str], shift: Tensor, power: Tensor, rate: float) -> None:
        """Take in an extra pass: g.(g'(q + D) - g'(q)) and |g|^2 of each layer, and the learning rate."""
        self._begin(names)
        if rate:
            self._shifts = [*self._shifts[1 - PASSES :], with_total(shift) / with_total(power) / rate]
            self._rates = [*self._rates[1 - PASSES :], rate]

    def add_window(self, names: Sequence[str], window: GradientProducts, batch_size: float) -> None:
        """Take in a window of steps with this mean number of samples."""
        self._begin(names)
        self._at_one_point = window.at_one_point
        if len(window.products) < 2:
            return
        share = signal_share_of(with_total(window.products), with_total(window.powers))
        factor = batch_size / self._batch_size
        if factor != 1.0 and not math.isnan(factor):  # else the same, or unknown
            self._rescale(factor)
        self._batch_size = batch_size
        self._degrees = share.degrees_of_freedom
        self._shares = [*self._shares[1 - WINDOWS :], share.value]
        self._variances = [*self._variances[1 - WINDOWS :], share.stderr.square()]

    def _begin(self, names: Sequence[str]) -> None:
        if tuple(names) != self._names:  # layers thaw and freeze
            self._names, self._shares, self._variances, self._shifts, self._rates = tuple(names), [], [], [], []

    def _rescale(self, factor: float) -> None:
        """Shares that gradients of ``factor`` times as many samples would have had."""
        scales = [share * factor + 1.0 - share for share in self._shares]
        pairs = zip(self._variances, scales, strict=True)
        self._variances = [variance * (factor / scale.square()).square() for variance, scale in pairs]
        self._shares = [share * factor / scale for share, scale in zip(self._shares, scales, strict=True)]

    def take(self, windows: Sequence[OptimizerWindow], complete: Sequence[OptimizerWindow], samples: float) -> Scalars:
        """Take in the windows that have ended, and give the values under their tags.

        ``samples`` is the size of what batches are drawn from without replacement.

        Returns:
            The values; none before there is a share.
        """
        ended = [window for window in windows if window.pairs.products is not None and window.last is not None]
        if len(ended) < len(windows) or len(complete) < len(windows) or len({id(w.optimizer) for w in windows}) != 1:
            return {}  # gradients of two optimizers may be those of two losses
        found = [window.pairs.products for window in windows if window.pairs.products is not None]
        steps = min(len(each.products) for each in found)
        products = torch.cat([each.products[:steps] for each in found], 1)
        powers = torch.cat([each.powers[:steps] for each in found], 1)
        joined = GradientProducts(products, powers, all(each.at_one_point for each in found))
        names = [name for window in windows for name in window.probe.names]
        momentum = torch.cat([window.last.momentum for window in windows if window.last is not None]).double()
        self.add_window(names, joined, windows[0].pairs.batch_size)
        momentum = torch.cat((momentum, momentum.mean(0, keepdim=True)))
        rate = largest_rate(windows[0].optimizer.param_groups)
        share = self.share(rate)
        if share is None:
            return {}
        record = self._record(*self._corrected(share, momentum, rate=rate, samples=samples), samples)
        # a preconditioner moves the coordinates that hold the signal least: what is noise of the power is none of T's
        # and with momentum T is taken from step to step, and holds hardly any slope
        if steps and not momentum.any() and all(window.moves_alike for window in windows):
            statistics = WindowStatistics.join([window.last for window in windows if window.last is not None])
            record |= _temperature(statistics, joined.powers.mean(0), share)
        return record

    def share(self, rate: float) -> Estimate | None:
        """Signal share at this learning rate, as if batches were independent, ``[L + 1]``; None before there is one."""
        if self._degrees is None or not self._shares or not (self._shifts or self._at_one_point):
            return None
        value, variance = steady_mean(self._shares, self._variances)
        if not self._at_one_point:
            shift, error = self._shift(rate)
            value, variance = value - shift, variance + error
        return Estimate(value, variance.sqrt(), self._degrees)

    def _shift(self, rate: float) -> tuple[Tensor, Tensor]:
        """Mean shift at this learning rate, and the variance of that mean."""
        shifts = torch.stack(self._shifts) * rate
        # what a shift is uncertain by does not know of the rate: one of a warm-up's first steps tells next to nothing
        weights = torch.tensor(self._rates, dtype=shifts.dtype).square()[:, None]
        weights = weights / weights.sum()
        mean = (weights * shifts).sum(0)
        if len(shifts) == 1:  # one pass does not tell its error: it may be as large as the shift
            return mean, mean.square()
        return mean, (weights * (shifts - mean).square()).sum(0) / (len(shifts) - 1)

    def _record(self, share: Estimate, doubt: float, samples: float) -> Scalars:
        record = _tagged("signal_share", share.value, self._names)
        record["thermo/signal_share_stderr"] = float(share.stderr[-1])
        if self._batch_size >= 1.0:  # else unknown
            scale = noise_scale_interval(share, self._batch_size, samples=samples, doubt=doubt)
            # a chart with a band can't draw an infinite end
            scale = scale._replace(upper=scale.upper.nan_to_num(nan=math.nan, posinf=math.nan))
            for name, column in zip(("noise_scale", "noise_scale_lower", "noise_scale_upper"), scale, strict=True):
                record |= _tagged(name, column, self._names)
        return record

    def _corrected(self, share: Estimate, momentum: Tensor, *, rate: float, samples: float) -> tuple[Estimate, float]:
        """The share without what drawing batches without replacement does to it, and how much of that is in doubt."""
        batches = samples / self._batch_size
        if not math.isfinite(batches) or not self._shifts:
            return share, 1.0  # nothing to correct, or how fast the weights forget is not known
        contraction = -self._shift(rate)[0]
        strengths = zip(contraction.nan_to_num().tolist(), momentum.nan_to_num().tolist(), strict=True)
        missed = share.value.new_tensor([shuffling_bias(part, batches, memory) for part, memory in strengths])
        noise = (1.0 - share.value).clamp(0.0, 1.0) * self._batch_size / samples
        return share._replace(value=share.value + missed * noise), DOUBT

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {
            "names": list(self._names),
            "shares": [share.clone() for share in self._shares],
            "variances": [variance.clone() for variance in self._variances],
            "shifts": [shift.clone() for shift in self._shifts],
            "rates": list(self._rates),
            "degrees": None if self._degrees is None else self._degrees.clone(),
            "batch_size": self._batch_size,
            "at_one_point": self._at_one_point,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; an empty state is a fresh start."""
        if not state:
            return
        self._names = tuple(state["names"])
        self._shares, self._variances = list(state["shares"]), list(state["variances"])
        self._shifts, self._degrees = list(state["shifts"]), state["degrees"]
        self._rates = list(state.get("rates", [1.0] * len(self._shifts)))  # an earlier version did not keep them
        self._batch_size, self._at_one_point = state["batch_size"], state["at_one_point"]


def _tagged(name: str, column: Tensor, layers: Sequence[str]) -> Scalars:
    *parts, whole = column.tolist()
    by_layer = {f"thermo_{name}/{layer}": part for layer, part in zip(layers, parts, strict=True)}
    return {f"thermo/{name}": whole, **by_layer}


def _temperature(window: WindowStatistics, power: Tensor, share: Estimate) -> Scalars:
    """Kinetic temperature with the noise at one point instead of the scatter in the window, which slopes add to."""
    if window.steps < 2:
        return {}
    temperature = kinetic_temperature_sums(window).estimate()
    factor = power * (1.0 - share.value[:-1]) / window.gradient_square.mean(0)
    weights = torch.where((factor * temperature.layers.value).isfinite(), window.sizes, 0.0)
    hot = torch.where(weights > 0, weights * temperature.layers.value, 0.0)
    value = (hot * factor.nan_to_num()).sum() / weights.sum()
    stderr = temperature.whole.stderr * (value / (hot.sum() / weights.sum())).abs()
    return {"thermo/noise_temperature": float(value), "thermo/noise_temperature_stderr": float(stderr)}
