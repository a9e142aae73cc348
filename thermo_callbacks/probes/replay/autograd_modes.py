"""Switch on what differentiating a network takes, whatever the run has switched on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from thermo_callbacks.probes.guard import preserved_random_state


@contextlib.contextmanager
def differentiable(device: torch.device, *, second_order: bool = True) -> Iterator[None]:
    """Switch gradients on (twice, with ``second_order``), autocast off, and keep the random streams as they are."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(preserved_random_state(device))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {device.type, "cpu"}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # compiled code knows no second derivative, and would be compiled anew for other parameters
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if torch.is_anomaly_enabled():
            stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if second_order:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # fused attention has no second derivative
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # nor have cuDNN's recurrent layers
        yield
