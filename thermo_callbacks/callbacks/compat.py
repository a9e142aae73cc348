"""One Callback class that the Trainers of both Lightning namespaces accept."""

from __future__ import annotations

import importlib
import math
import sys
import weakref
from collections.abc import Sized
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lightning_utilities.core import rank_zero
from torch.utils.data import DistributedSampler, RandomSampler

from thermo_callbacks.probes.inspection.batches import tensors_in
from thermo_callbacks.probes.other_fits import enter_fit

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


def steps_done(trainer: Any) -> int:
    """Steps that a run has made when training starts, on the axis of :func:`logging_step`."""
    # a run that goes on counts the last batch of its checkpoint on that axis only when its first epoch begins
    return int(trainer.global_step) if trainer.lightning_module.automatic_optimization else logging_step(trainer)


def steps_at_end(trainer: Any) -> int | None:
    """Steps that a run will have made at its end, on the axis of :func:`logging_step`; None if that is not known."""
    # without its loader the Trainer would load the data to answer, and with a limit on time its answer is none
    if trainer.train_dataloader is None or any(map(_limits_time, trainer.callbacks)):
        return None
    try:
        steps = trainer.estimated_stepping_batches
    except Exception:  # it raises whatever the loaders and the loops raise
        return None
    if not 0 < steps < math.inf:
        return None
    if trainer.max_steps > 0 and not trainer.lightning_module.automatic_optimization:
        # that limit counts the steps of all optimizers, and each batch has one of each
        left = math.ceil((trainer.max_steps - trainer.global_step) / max(1, len(trainer.optimizers)))
        steps = min(steps, logging_step(trainer) + left)
    return int(steps)


def _limits_time(callback: Any) -> bool:
    # Trainer(max_time=...) is a Timer, of either namespace; one without a duration only looks at the clock
    return any(kind.__name__ == "Timer" for kind in type(callback).__mro__) and callback.time_remaining() is not None


def loader_batch_size(trainer: Any) -> int | None:
    """Batch size that the training loader says it has; None where it does not say."""
    loader = trainer.train_dataloader
    size = getattr(loader, "batch_size", None)
    if size is None:
        size = getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    return size if isinstance(size, int) else None


def samples_in(batch: Any, declared: int | None) -> int | None:
    """Samples of a batch, read off the leading sizes of its tensors; None where they don't say."""
    # a tensor whose leading size is the loader's settles it; else all tensors have to agree, as those of a last batch
    # do; what a graph holds has leading sizes of its own (nodes, edges): the loader's size stands then, if there is one
    sizes = {tensor.shape[0] for tensor in tensors_in(batch) if tensor.ndim}
    if declared in sizes:
        return declared
    return sizes.pop() if len(sizes) == 1 else declared


def shuffled_samples(trainer: Any) -> float:
    """Samples that the batches of an epoch are drawn from without replacement; infinite where that is not known."""
    sampler = getattr(trainer.train_dataloader, "sampler", None)
    shuffles = (isinstance(sampler, RandomSampler) and not sampler.replacement) or (
        isinstance(sampler, DistributedSampler) and sampler.shuffle
    )
    data = getattr(sampler, "dataset" if isinstance(sampler, DistributedSampler) else "data_source", None)
    return float(len(data)) if shuffles and isinstance(data, Sized) and len(data) else math.inf


def loss_scale(trainer: Any) -> Any:
    """Factor in gradients right after a backward pass; perhaps a tensor on the device."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return scaler._get_scale_async() if scaler is not None and scaler.is_enabled() else 1.0


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
    scaler = _scaler(trainer)
    return scaler is not None and scaler.is_enabled()


def skips_alone(trainer: Any) -> bool:
    """Whether a gradient scaler asks no other process before it skips a step."""
    kinds = sys.modules.get("torch.distributed.fsdp.sharded_grad_scaler")  # without the module there is none
    return has_gradient_scaler(trainer) and not (kinds and isinstance(_scaler(trainer), kinds.ShardedGradScaler))


def _scaler(trainer: Any) -> Any:
    return getattr(getattr(trainer, "precision_plugin", None), "scaler", None)


def enter_this_fit(trainer: Any) -> None:
    """A Trainer begins to fit in this thread: others of this process are to know."""
    known = weakref.ref(trainer)

    def running() -> bool:
        state = getattr(known(), "state", None)
        return state is not None and state.fn == "fit" and state.status == "running"

    enter_fit(running)
