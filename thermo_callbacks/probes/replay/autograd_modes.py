"""Switch on what differentiating a network takes, whatever the run has switched on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from thermo_callbacks.probes.guard import preserved_random_state
from thermo_callbacks.probes.interrupts import entered, finished
from thermo_callbacks.probes.modes import KeptModes


@contextlib.contextmanager
def differentiable(device: torch.device, *, second_order: bool = True) -> Iterator[None]:
    """Switch gradients on (twice, with ``second_order``), autocast off, and keep the random streams as they are."""
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled():  # what leaves it sets gradients back as well, at whatever time it does
            entered(stack, torch.inference_mode(False))
        stack.enter_context(finished(KeptModes(device.type, calls=True).restore))
        stack.enter_context(preserved_random_state(device))
        torch.set_grad_enabled(True)
        for kind in {device.type, "cpu"}:
            torch.set_autocast_enabled(kind, False)
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # compiled code knows no second derivative, and would be compiled anew for other parameters
            entered(stack, torch.compiler.set_stance("force_eager"))
        if torch.is_anomaly_enabled():
            entered(stack, torch.autograd.set_detect_anomaly(False))
        if second_order:
            entered(stack, sdpa_kernel(SDPBackend.MATH))  # fused attention has no second derivative
            entered(stack, torch.backends.cudnn.flags(enabled=False))  # nor have cuDNN's recurrent layers
        yield
