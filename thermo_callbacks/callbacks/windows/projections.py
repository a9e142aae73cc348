"""Watched directions of a window: what is projected on them at each step, and the entropy balance at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.functional.window.resolved import (
    LEAST_RELAXATIONS,
    LEAST_STEPS,
    ResolvedBalance,
    resolved_balance,
)
from thermo_callbacks.probes.parameters.projections import ProjectionProbe, WatchedDirections
from thermo_callbacks.probes.parameters.stated import largest_rate
from thermo_callbacks.probes.real_numbers import real_count

_LARGEST_STATE = 2**25  # bytes of directions that go into a checkpoint
_STEADY = 1.1  # ratio of learning rates within a window that still counts as one


class WindowBalance(NamedTuple):
    """Entropy balance of a window in its directions, and the errors of the destruction along each."""

    balance: ResolvedBalance
    destruction_stderr: Tensor  # [k]
    at_pass: Tensor  # destruction along each at the learning rate of the extra pass that found them, [k]
    reason: str  # why nothing is resolved; empty if something is


class ProjectionWatch:
    """Follows an optimizer's steps along directions that an extra pass has found, from the next window on."""

    def __init__(self, optimizer: Optimizer, parameters: Sequence[nn.Parameter], window: int) -> None:
        self._optimizer, self._parameters, self._window = optimizer, tuple(parameters), window
        self._next: WatchedDirections | None = None
        self._directions: WatchedDirections | None = None
        self._probe: ProjectionProbe | None = None
        self._series = torch.empty(0)
        self._rates: list[float] = []

    def offer(self, directions: WatchedDirections) -> None:
        """Watch these directions from the next window on."""
        self._next = directions

    def start(self) -> None:
        """A window begins."""
        self._directions, self._rates = self._next, []
        self._prepare()

    def _prepare(self) -> None:
        self._probe = None
        if self._directions is not None:
            self._probe = ProjectionProbe(self._parameters, self._directions)
            self._series = self._probe.row.new_empty(self._window, *self._probe.row.shape)

    def before_step(self, scale: Tensor | float) -> None:
        """Read positions and gradients along the directions."""
        if self._probe is not None:
            self._probe.before_step(scale)

    def after_step(self) -> None:
        """Read displacements, and keep the step."""
        if self._probe is not None and len(self._rates) < self._window:
            self._series[len(self._rates)] = self._probe.after_step()
            self._rates.append(largest_rate(self._optimizer.param_groups))

    def close(self) -> WindowBalance | None:
        """Balance of the window that ends; None if it was not watched."""
        directions, steps = self._directions, len(self._rates)
        self._probe = self._directions = None
        if directions is None or not steps:
            return None
        positions, gradients, displacements = self._series[:steps].cpu().double().unbind(1)
        rate = math.fsum(self._rates) / steps
        motion = directions.motion._replace(
            step=directions.motion.step * rate / directions.rate, decay=directions.decays * rate / directions.rate
        )
        at_pass = directions.motion.mobility * directions.curvatures + directions.decays
        reason = self._reason(steps)
        if reason:
            nothing = torch.full_like(at_pass, torch.nan)
            balance = ResolvedBalance(nothing, nothing, nothing, torch.zeros_like(at_pass, dtype=torch.bool))
        else:
            balance = resolved_balance(
                positions, displacements, gradients, curvatures=directions.curvatures, motion=motion
            )
            reason = _unresolved(balance, steps)
        return WindowBalance(balance, motion.mobility * directions.curvature_stderr, at_pass, reason)

    def _reason(self, steps: int) -> str:
        """Why there is no balance."""
        if steps < LEAST_STEPS:
            return f"a window of {steps} steps is too short: it takes {LEAST_STEPS}"
        if not min(self._rates) * _STEADY >= max(self._rates) > 0.0:
            return "the learning rate changed by more than a tenth within the window, or was zero"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Directions and the open window's steps, where they are small; else empty: the next extra pass finds anew."""
        kept = [directions for directions in (self._next, self._directions) if directions is not None]
        if sum(2 * each.places.numel() * each.places.element_size() for each in kept) > _LARGEST_STATE or not kept:
            return {}
        same = self._next is self._directions
        return {
            "next": None if self._next is None else self._next.state_dict(),
            "directions": None if same or self._directions is None else self._directions.state_dict(),
            "same": same,
            "rates": list(self._rates),
            "series": self._series[: len(self._rates)].cpu().clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._next = self._directions = self._probe = None
        size = sum(real_count(parameter) for parameter in self._parameters)
        found = [each for each in (state.get("next"), state.get("directions")) if each is not None]
        if not found or any(each["places"].shape[1] != size for each in found):
            return
        device = self._parameters[0].device
        if state["next"] is not None:
            self._next = WatchedDirections.of_state(state["next"], device)
        if state["directions"] is not None:
            self._directions = WatchedDirections.of_state(state["directions"], device)
        elif state["same"]:
            self._directions = self._next
        self._rates = list(state["rates"])
        self._prepare()
        if self._probe is not None:
            self._series[: len(self._rates)].copy_(state["series"])


def _unresolved(balance: ResolvedBalance, steps: int) -> str:
    """Why a window resolves none of its directions; empty if it resolves one."""
    if bool(balance.resolved.any()):
        return ""
    fastest = float(balance.destruction.max())
    if not fastest > 0.0:
        return "the loss curves down in all the directions that were found"
    if fastest * steps > LEAST_RELAXATIONS:
        return "the stiffest directions are beyond the edge of stability, or their production is lost in its error"
    return (
        f"none of the directions relaxes {LEAST_RELAXATIONS:g} times within its {steps} steps: the stiffest takes "
        f"{1.0 / fastest:.3g} steps to relax"
    )
