"""What the processes of a run with sharded parameters do together, each of them, also one in which something failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

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


def refusal(strategy: Any) -> str | None:
    """Why a strategy can't be watched; None if it can be."""
    return next((REFUSED[kind.__name__] for kind in type(strategy).__mro__ if kind.__name__ in REFUSED), None)


def samples_factor(trainer: Any) -> float:
    """Different batches per process, 1 for data parallelism alone."""
    # the processes of one tensor-parallel group see the same batch
    options = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    batches, processes = int(options.get("num_replicas", trainer.world_size)), int(trainer.world_size)
    return batches / processes


def agree(guard: Guard, layers: Callable[[], dict[str, list[nn.Parameter]]]) -> None:
    """Begin to watch these layers in all processes, or in none: the guard switches off what another can't begin."""
    sizes = {}
    if not guard.disabled:
        with guard.protect("looking at the shards"):
            for name, owned in layers().items():
                parts = [part_of(parameter, f"of layer {name}") for parameter in owned]
                sizes[name] = (sum(real_count(parameter) for parameter in owned), sum(part.size for part in parts))
    answers: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(answers, (guard.disabled, sizes))
    if any(failed for failed, _ in answers):
        guard.disable("it failed in another process")
    for name, (whole, _) in sizes.items():
        held = sum(seen.get(name, (0, 0))[1] for _, seen in answers)
        if held != whole:
            guard.disable(
                f"the parts of layer {name!r} that the processes hold come to {held} of its {whole} coordinates: all "
                "processes must have the same layers, distributed over all of them"
            )


def merge(windows: list[OptimizerWindow], guard: Guard, device: torch.device) -> list[OptimizerWindow]:
    """Bring together what the processes have seen of some open windows; none of them if one process has failed."""
    shares: list[list[Tensor]] = []
    if not guard.disabled:
        with guard.protect("adding up its window"):
            shares = [window.own_share(able=True) for window in windows]
    able = not guard.disabled
    if not able:
        shares = [window.own_share(able=False) for window in windows]
    parts = [part for share in shares for part in share]
    packed = torch.cat([*(part.reshape(-1) for part in parts), torch.tensor([float(not able)], dtype=torch.float64)])
    total = sum_over_processes(packed, device)
    if total[-1] > 0:
        guard.disable("it failed in another process")
        return []
    pieces = torch.split(total[:-1], [part.numel() for part in parts])
    whole = iter([piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)])
    processes = torch.distributed.get_world_size()
    for window, share in zip(windows, shares, strict=True):
        window.accept([next(whole) for _ in share], processes)
    return windows
