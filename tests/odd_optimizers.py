"""Optimizers, and ways of stepping them, that follow no convention of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

RATE = 0.05


class Wrapper(Optimizer):
    """Holds another optimizer, and never calls the constructor of its own base."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.defaults = inner, inner.defaults

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.inner.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self.inner.state

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.inner.zero_grad(set_to_none)


def wrapped(parameters: Iterable[nn.Parameter]) -> Wrapper:
    return Wrapper(SGD(parameters, lr=RATE))


class HookLess(SGD):
    """Its step is an attribute, which torch puts no hooks around; it writes in place, or to ``.data``."""

    def __init__(self, parameters: Any, *, hidden: bool = False) -> None:
        super().__init__(parameters, lr=RATE)
        self.hidden = hidden
        self.step = self._own_step  # type: ignore[method-assign,assignment]

    def _own_step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                place = parameter.data if self.hidden else parameter
                place.add_(parameter.grad, alpha=-RATE)
        return loss


class Foreign:
    """No optimizer of torch at all."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters)}]
        self.defaults: dict[str, Any] = {}
        self.state: dict[Any, Any] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """It has none."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.sub_(parameter.grad, alpha=RATE)
        return loss


class Unset(SGD):
    """Its groups hold None for what it does not use, as those of several public optimizers do."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=RATE)
        for group in self.param_groups:
            group |= {"betas": None, "momentum": None, "weight_decay": None, "dampening": None}

    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(parameter.grad, alpha=-RATE)
        return loss


class SAM(Optimizer):
    """Sharpness-aware minimization (Foret et al. 2021) around SGD, in the form in which most people copy it."""

    def __init__(self, parameters: Any, *, radius: float = 0.05, own: bool = False) -> None:
        super().__init__(parameters, {"lr": RATE})
        self.radius, self.own = radius, own
        self.base_optimizer = SGD(self.param_groups, lr=RATE)
        self.param_groups = self.base_optimizer.param_groups

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def first_step(self) -> None:
        """Climb to where the gradient is taken."""
        gradients: list[Tensor] = [parameter.grad for parameter in self._parameters()]  # type: ignore[misc]
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for parameter, gradient in zip(self._parameters(), gradients, strict=True):
            self.state[parameter]["before"] = parameter.detach().clone()
            parameter.add_(gradient * (self.radius / norm))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        """Step from where it was, by the gradient there."""
        for parameter in self._parameters():
            parameter.data = self.state[parameter]["before"]
            if self.own:
                parameter.sub_(parameter.grad, alpha=RATE)  # type: ignore[arg-type]
        if not self.own:
            self.base_optimizer.step()
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()
