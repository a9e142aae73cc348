"""Modes of torch at one moment, to be set back."""

from __future__ import annotations

import sys

import torch
from torch.backends import cuda, cudnn


class KeptModes:
    """What is switched on now: gradients, autocast, kinds of attention, cuDNN, the fused path of encoder layers."""

    def __init__(self, device_type: str, *, calls: bool = False) -> None:
        # calls: also who sees calls of functions; more than now will be taken off again
        self._watchers = torch._C._len_torch_function_stack() if calls else None
        self._grad = torch.is_grad_enabled()
        self._autocast = {kind: torch.is_autocast_enabled(kind) for kind in {device_type, "cpu"}}
        self._cudnn = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
        self._attention = _attention()
        dynamo = sys.modules.get("torch._dynamo.eval_frame")
        self._stance = getattr(dynamo, "_stance", None)  # whether compiled code runs as such
        self._fast_path = torch.backends.mha.get_fastpath_enabled()

    def restore(self) -> None:
        """Set back what is different; any number of times."""
        while self._watchers is not None and torch._C._len_torch_function_stack() > self._watchers:
            torch._C._pop_torch_function_stack()
        torch.set_grad_enabled(self._grad)
        for kind, enabled in self._autocast.items():
            torch.set_autocast_enabled(kind, enabled)
        if (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) != self._cudnn:
            cudnn.enabled, cudnn.benchmark, cudnn.deterministic = self._cudnn
        if _attention() != self._attention:
            for kind, enabled in self._attention.items():
                getattr(cuda, f"enable_{kind}_sdp")(enabled)
        torch.backends.mha.set_fastpath_enabled(self._fast_path)
        dynamo = sys.modules.get("torch._dynamo.eval_frame")
        if self._stance is not None and dynamo is not None and dynamo._stance != self._stance:
            dynamo._set_stance(self._stance)


def _attention() -> dict[str, bool]:
    return {kind: getattr(cuda, f"{kind}_sdp_enabled")() for kind in ("flash", "mem_efficient", "math", "cudnn")}
