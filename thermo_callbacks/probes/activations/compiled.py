"""Whether a training step may run compiled code, in which calls of activations can't be seen."""

from __future__ import annotations

import sys

from torch import nn


def is_compiled(model: nn.Module) -> bool:
    """Whether some of the model runs as compiled code, in which calls of activations can't be seen.

    Args:
        model: The model: compiled itself or in part, by ``torch.compile`` or ``module.compile()``.

    Returns:
        Whether to run :class:`ActivationProbe` in an eager replay.

    Example:
        >>> from torch import nn
        >>> is_compiled(nn.Sequential(nn.Linear(1, 1), nn.ReLU()))
        False
    """
    if getattr(model, "_compiler_ctx", None) is not None:  # torch.compile(LightningModule), unwrapped by the Trainer
        return True
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # without it nothing has been compiled
    wrapper = () if dynamo is None else dynamo.OptimizedModule
    return any(isinstance(module, wrapper) or module._compiled_call_impl is not None for module in model.modules())


def compiles_functions(*, called: bool = False) -> bool:
    """Whether anything was given to ``torch.compile`` in this process: functions and methods that no module holds.

    Nobody knows what a training step will call, and a compiled function leaves no mark where it is called from. The
    answer is therefore that of the process, and errs on the side of yes.

    Args:
        called: Count only what was called, and so compiled, up to now.

    Returns:
        Whether to run :class:`ActivationProbe` in an eager replay.

    Example:
        >>> import torch
        >>> double = torch.compile(lambda x: 2 * x, backend="eager")
        >>> compiles_functions(), compiles_functions(called=True)
        (True, False)
        >>> torch._dynamo.reset()
        >>> compiles_functions()
        False
    """
    dynamo, frames = (sys.modules.get(f"torch._dynamo.{name}") for name in ("eval_frame", "convert_frame"))
    if dynamo is None or frames is None:
        return False
    if frames.input_codes.seen:
        return True
    # what is only kept from being compiled, as all optimizers of torch are, has no backend
    return not called and any(map(callable, dynamo.cached_backends.values()))
