"""Whether parameters have moved."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from thermo_callbacks.probes.sharding import local_part

_FEW = 8  # parameters whose values are compared
_VALUES = 64  # of each


class Marks:
    """Some parameters at one moment."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        parameters = [parameter for parameter in parameters if parameter.numel()]
        self._versions = [(parameter, parameter._version) for parameter in parameters]
        plain = [parameter for parameter in parameters if parameter.layout == torch.strided]
        some = plain[:: max(1, len(plain) // _FEW)]
        self._values = [(parameter, _few(parameter).clone()) for parameter in some]

    def again(self) -> Marks:
        """The same parameters now."""
        return Marks([parameter for parameter, _ in self._versions])

    def moved(self) -> bool:
        """Whether a parameter was written to: torch counts what is written in place, but not to ``.data``."""
        return any(parameter._version != version for parameter, version in self._versions)

    def changed(self) -> bool:
        """Whether values have changed; this waits for the device."""
        return any(not torch.equal(_few(parameter), then) for parameter, then in self._values)

    def changed_on_cpu(self) -> bool:
        """Whether values have changed, where nothing is to be waited for."""
        return all(parameter.device.type == "cpu" for parameter, _ in self._values) and self.changed()


def _few(parameter: nn.Parameter) -> torch.Tensor:
    flat = local_part(parameter.detach())
    return (flat.view(-1) if flat.is_contiguous() else flat.flatten()[:_VALUES].clone())[:_VALUES]
