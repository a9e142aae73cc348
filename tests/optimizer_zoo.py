"""Update rules of optimizers outside of torch, as their papers and reference implementations have them, and no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class _Rule(Optimizer):
    """An optimizer that is its update rule."""

    def __init__(self, parameters: Any, **defaults: Any) -> None:
        super().__init__(parameters, defaults)
        self.steps = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        self.steps += 1
        self.update()
        return result

    def update(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, parameter.grad, group, self.state[parameter])

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        raise NotImplementedError

    def each(self) -> Iterator[tuple[Tensor, dict[str, Any], dict[str, Any]]]:
        for group in self.param_groups:
            for parameter in group["params"]:
                yield parameter, group, self.state[parameter]


def average(state: dict[str, Any], name: str, value: Tensor, decay: float) -> Tensor:
    """Exponential average of a value in an optimizer's state."""
    if name not in state:
        state[name] = torch.zeros_like(value)
    mean: Tensor = state[name].mul_(decay).add_(value, alpha=1.0 - decay)
    return mean


class LARS(_Rule):
    """You, Gitman, Ginsburg 2017: momentum of gradients times a trust ratio, which its state does not show."""

    def __init__(self, parameters: Any, lr: float = 0.5, momentum: float = 0.9, weight_decay: float = 1e-4) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, trust=1e-3)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        ratio = group["trust"] * parameter.norm() / (gradient.norm() + decay * parameter.norm())
        buffer = state.setdefault("momentum_buffer", torch.zeros_like(parameter))
        buffer.mul_(group["momentum"]).add_((gradient + decay * parameter) * ratio * group["lr"])
        parameter.sub_(buffer)


class LAMB(_Rule):
    """You et al. 2020: Adam's step scaled to the norm of the layer."""

    def __init__(self, parameters: Any, lr: float = 1e-3, weight_decay: float = 0.01) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=weight_decay)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        first, second = group["betas"]
        mean = average(state, "exp_avg", gradient, first) / (1 - first**self.steps)
        square = average(state, "exp_avg_sq", gradient.square(), second) / (1 - second**self.steps)
        step = mean / (square.sqrt() + group["eps"]) + group["weight_decay"] * parameter
        parameter.sub_(group["lr"] * parameter.norm() / step.norm() * step)


class Prodigy(_Rule):
    """Mishchenko, Defazio 2023: Adam whose learning rate is the distance to the solution, as far as it is known."""

    def __init__(self, parameters: Any, lr: float = 1.0, weight_decay: float = 0.0, d: float = 1e-6) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay, d=d)
        self.start = d
        self.numerator = 0.0

    def update(self) -> None:
        group = self.param_groups[0]
        (first, second), d, rate = group["betas"], group["d"], group["lr"]
        decay, denominator = math.sqrt(second), 0.0
        self.numerator *= decay
        for parameter, _, state in self.each():
            gradient = parameter.grad
            assert gradient is not None
            start = state.setdefault("p0", parameter.clone())
            self.numerator += (1 - decay) * d / self.start * d * rate * float((gradient * (start - parameter)).sum())
            state.setdefault("s", torch.zeros_like(parameter))
            state["s"].mul_(decay).add_(gradient * (1 - decay) * d / self.start * d * rate)
            denominator += float(state["s"].abs().sum())
            average(state, "exp_avg", gradient * d, first)
            average(state, "exp_avg_sq", (gradient * d).square(), second)
        if denominator:
            group["d"] = max(d, self.numerator / denominator)
        for parameter, _, state in self.each():
            parameter.mul_(1 - d * rate * group["weight_decay"])
            parameter.sub_(d * rate * state["exp_avg"] / (state["exp_avg_sq"].sqrt() + d * group["eps"]))


class Lookahead(_Rule):
    """Zhang et al. 2019: every k steps back towards where the slow weights are; with RAdam inside this is Ranger."""

    def __init__(self, parameters: Any, lr: float = 1e-3, inner: type[Optimizer] = torch.optim.RAdam) -> None:
        parameters = list(parameters)
        self.inner = inner(parameters, lr=lr)  # type: ignore[call-arg]
        super().__init__(parameters, lr=lr)
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    def update(self) -> None:
        before = [parameter.clone() for parameter, _, _ in self.each()]
        self.inner.step()
        for start, (parameter, _, state) in zip(before, self.each(), strict=True):
            slow = state.setdefault("slow_buffer", start)
            if self.steps % 6 == 0:
                parameter.copy_(slow.lerp_(parameter, 0.5))


class AdaMod(_Rule):
    """Ding et al. 2019: Adam with learning rates bounded by their own running mean."""

    def __init__(self, parameters: Any, lr: float = 1e-3) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.999), beta3=0.999, eps=1e-8)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        first, second = group["betas"]
        mean = average(state, "exp_avg", gradient, first)
        square = average(state, "exp_avg_sq", gradient.square(), second)
        correction = math.sqrt(1 - second**self.steps) / (1 - first**self.steps)
        rates = group["lr"] * correction / (square.sqrt() + group["eps"])
        parameter.sub_(torch.minimum(rates, average(state, "exp_avg_lr", rates, group["beta3"])) * mean)


class Adan(_Rule):
    """Xie et al. 2022: averages of the gradient and of its change, of different memory."""

    def __init__(self, parameters: Any, lr: float = 1e-3, weight_decay: float = 0.02) -> None:
        super().__init__(parameters, lr=lr, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=weight_decay)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        first, second, third = group["betas"]
        change = gradient - state.get("previous", gradient)
        state["previous"] = gradient.clone()
        mean = average(state, "exp_avg", gradient, first) / (1 - first**self.steps)
        difference = average(state, "exp_avg_diff", change, second) / (1 - second**self.steps)
        power = average(state, "exp_avg_sq", (gradient + second * change).square(), third) / (1 - third**self.steps)
        parameter.sub_(group["lr"] / (power.sqrt() + group["eps"]) * (mean + second * difference))
        parameter.div_(1 + group["lr"] * group["weight_decay"])


class ADOPT(_Rule):
    """Taniguchi et al. 2024: divided by the second moment of the step before, and then averaged."""

    def __init__(self, parameters: Any, lr: float = 1e-3) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.9999), eps=1e-6)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        first, second = group["betas"]
        if "exp_avg_sq" not in state:
            state["exp_avg_sq"] = gradient.square()
            return
        scaled = gradient / state["exp_avg_sq"].sqrt().clamp(min=group["eps"])
        parameter.sub_(group["lr"] * average(state, "exp_avg", scaled, first))
        average(state, "exp_avg_sq", gradient.square(), second)


class Lion(_Rule):
    """Chen et al. 2023: the sign of an average."""

    def __init__(self, parameters: Any, lr: float = 1e-4) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.99))

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        first, second = group["betas"]
        mean = state.setdefault("exp_avg", torch.zeros_like(parameter))
        parameter.sub_(group["lr"] * (first * mean + (1 - first) * gradient).sign())
        mean.lerp_(gradient, 1 - second)


class SignSGD(_Rule):
    """Bernstein et al. 2018, without memory and without state."""

    def __init__(self, parameters: Any, lr: float = 1e-4) -> None:
        super().__init__(parameters, lr=lr)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        parameter.sub_(group["lr"] * gradient.sign())


class ScheduleFree(_Rule):
    """Defazio et al. 2024, SGD: gradients are taken between the steps z and their average x."""

    def __init__(self, parameters: Any, lr: float = 0.1, momentum: float = 0.9) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        beta, weight = self.beta(group), 1.0 / self.steps
        z = state.setdefault("z", parameter.clone())
        x = z + (parameter - z) / beta
        z.sub_(group["lr"] * self.scaled(gradient, group, state))
        parameter.copy_((1 - beta) * z + beta * ((1 - weight) * x + weight * z))

    def beta(self, group: dict[str, Any]) -> float:
        return float(group["momentum"])

    def scaled(self, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        return gradient


class ScheduleFreeAdamW(ScheduleFree):
    """The same with Adam's second moment."""

    def __init__(self, parameters: Any, lr: float = 1e-3) -> None:
        _Rule.__init__(self, parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8)

    def beta(self, group: dict[str, Any]) -> float:
        return float(group["betas"][0])

    def scaled(self, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        second = group["betas"][1]
        square = average(state, "exp_avg_sq", gradient.square(), second) / (1 - second**self.steps)
        return gradient / (square.sqrt() + group["eps"])


class SGLD(_Rule):
    """Welling and Teh 2011: half a learning rate of gradient, and noise of one; ``temperature`` scales the noise."""

    def __init__(self, parameters: Any, lr: float = 1e-2, temperature: float = 1.0, half: float = 0.5) -> None:
        super().__init__(parameters, lr=lr, temperature=temperature, half=half)
        self.generator = torch.Generator().manual_seed(0)

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        mobility = group["half"] * group["lr"]
        noise = torch.randn(parameter.shape, generator=self.generator, dtype=parameter.dtype)
        parameter.sub_(mobility * gradient - math.sqrt(2.0 * mobility * group["temperature"]) * noise)
