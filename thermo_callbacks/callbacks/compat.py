"""One Callback class that the Trainers of both Lightning namespaces accept."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lightning_utilities.core import rank_zero

if TYPE_CHECKING:
    from lightning.pytorch import Callback as Callback
else:
    # lightning.pytorch and pytorch_lightning hold different classes of the same name. A single callback given to
    # Trainer(callbacks=...) must be an instance of the Trainer's own class, so inherit from all that are installed.
    _namespaces = [name for name in ("pytorch_lightning", "lightning") if find_spec(name)]
    _in_use = any(name in sys.modules for name in ("lightning.pytorch", "pytorch_lightning"))
    if not _namespaces:
        raise ModuleNotFoundError(
            "thermo_callbacks needs PyTorch Lightning: install it with `pip install lightning` (or pytorch-lightning)"
        )
    # each namespace takes over the logger that both send their messages through: the user's own import keeps it
    _kept = getattr(rank_zero, "log", None) if _in_use else None
    _modules = [importlib.import_module("lightning.pytorch" if name == "lightning" else name) for name in _namespaces]
    if _kept is not None:
        rank_zero.log = _kept

    class Callback(*(module.Callback for module in _modules)):
        """Base of all callbacks here."""


def plain_state(callback: Callback) -> dict[str, Any]:
    """State of a callback for copies and pickles."""
    # Lightning binds the module's log and log_dict to every callback: they would take model and Trainer along
    return {name: value for name, value in vars(callback).items() if name not in {"log", "log_dict"}}


def logging_step(trainer: Any) -> int:
    """Position on the axis that Lightning itself logs training steps on."""
    # batches that ended in an optimizer step, where global_step counts every optimizer
    loop = getattr(trainer.fit_loop, "epoch_loop", None)
    return int(getattr(loop, "_batches_that_stepped", trainer.global_step))


def samples_per_step(trainer: Any) -> float:
    """Batch size of the loader times accumulated batches times ranks; NaN where the loader does not say."""
    # batches are never looked into: what a graph or a dictionary holds says nothing reliable about their size
    loader = trainer.train_dataloader
    size = getattr(loader, "batch_size", None)
    if size is None:
        size = getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    if not isinstance(size, int):
        return float("nan")
    return float(size * trainer.accumulate_grad_batches * trainer.world_size)


def gradient_scale(trainer: Any, optimizer: Any) -> Any:
    """Factor that takes the loss scale out of gradients that the optimizer will unscale itself."""
    # with a fused optimizer the scaler leaves gradients multiplied; all others are unscaled before the hook
    # it may be a tensor on the device: asking the scaler for a number would wait for the device
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False) or not scaler.is_enabled():
        return 1.0
    return scaler._get_scale_async().reciprocal()


def expects_clipping(trainer: Any, pl_module: Any) -> bool:
    """Whether the Trainer is told to clip gradients, or the module has a hook of its own for it."""
    return bool(getattr(trainer, "gradient_clip_val", None)) or overrides(pl_module, "configure_gradient_clipping")


def overrides(pl_module: Any, hook: str) -> bool:
    """Whether a module has its own method in the place of one of Lightning's."""
    owner = next((base for base in type(pl_module).__mro__ if hook in vars(base)), None)
    return owner is not None and not owner.__module__.startswith(("lightning.", "pytorch_lightning."))


def has_gradient_scaler(trainer: Any) -> bool:
    """Whether gradients carry a loss scale between the backward pass and the step."""
    scaler = getattr(getattr(trainer, "precision_plugin", None), "scaler", None)
    return scaler is not None and scaler.is_enabled()
