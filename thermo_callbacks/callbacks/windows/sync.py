"""What the processes of a run do together with their windows, each of them, also one in which something failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.callbacks.agreement import agree
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.real_numbers import real_count
from thermo_callbacks.probes.sharding import part_of, sum_over_processes

REFUSED = {
    "FSDPStrategy": "FSDPStrategy lays all parameters of a module out in one flat tensor and cuts it anywhere, which "
    "leaves no layer's coordinates to watch: use ModelParallelStrategy with fully_shard() instead",
    "DeepSpeedStrategy": "DeepSpeedStrategy keeps gradients in buffers of its own, where no other code can read them: "
    "use ModelParallelStrategy with fully_shard() instead",
}
"""Strategies that can't be watched, by the name of their class or of one that it derives from."""
SKIPS_ALONE = (
    "the parameters are sharded, and the gradient scaler skips a step in the processes that find an overflow in their "
    "part of the gradient, while the others make it: half of the model moves. Give the precision plugin a scaler that "
    "asks all of them: MixedPrecision('16-mixed', 'cuda', scaler=ShardedGradScaler()), from "
    "torch.distributed.fsdp.sharded_grad_scaler"
)
"""What is said of sharded parameters with a scaler of which the processes may make different steps."""


def refusal(strategy: Any) -> str | None:
    """Why a strategy can't be watched; None if it can be."""
    return next((REFUSED[kind.__name__] for kind in type(strategy).__mro__ if kind.__name__ in REFUSED), None)


def begin_together(guard: Guard, device: torch.device, layers: Callable[[], dict[str, list[nn.Parameter]]]) -> None:
    """Begin to watch these layers in all processes, or in none: the guard switches off what another can't begin."""
    sizes = {}
    if not guard.disabled:
        with guard.protect("looking at the layers of all processes"):
            for name, owned in layers().items():
                parts = [part_of(parameter, f"of layer {name}") for parameter in owned]
                sizes[name] = (sum(real_count(parameter) for parameter in owned), sum(part.size for part in parts))
    if not agree(guard, device, len(sizes)):
        return
    answers: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(answers, sizes)
    for name in dict.fromkeys(name for seen in answers for name in seen):  # also where it is another one's layer only
        each = [seen.get(name, (0, 0)) for seen in answers]
        whole, held = max(size for size, _ in each), sum(part for _, part in each)
        if held != whole or any(size != whole for size, _ in each):
            guard.disable(
                f"the parts of layer {name!r} that the processes hold come to {held} of its {whole} coordinates: all "
                "processes must have the same layers, distributed over all of them"
            )


def merge(windows: list[OptimizerWindow], guard: Guard, device: torch.device) -> bool:
    """Bring together what the processes have seen of some open windows; False, and the guard off, if one has failed."""
    shares: list[list[Tensor]] = []
    packed = torch.zeros(0, dtype=torch.float64)
    if not guard.disabled:
        with guard.protect("adding up its window"):
            shares = [window.own_share() for window in windows]
            packed = torch.cat([part.reshape(-1) for share in shares for part in share])
    if not agree(guard, device, packed.numel()):
        return False
    total = sum_over_processes(packed, device)
    with guard.protect("adding up the windows of all processes"):
        parts = [part for share in shares for part in share]
        pieces = torch.split(total, [part.numel() for part in parts])
        whole = iter([piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)])
        processes = torch.distributed.get_world_size()
        for window, share in zip(windows, shares, strict=True):
            window.accept([next(whole) for _ in share], processes)
    return not guard.disabled
