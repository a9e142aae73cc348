"""Random vectors of signs, for estimates of traces."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST = -(2**63)  # of the 64-bit integers


def rademacher(
    parameters: Sequence[Tensor], generator: torch.Generator | None = None, *, out: Sequence[Tensor] | None = None
) -> list[Tensor]:
    r"""Random vectors of independent signs, +1 or -1 with equal probability.

    Of all vectors with :math:`E\,v v^\top = 1` they give the trace estimate of least variance among independent,
    equally distributed entries (Hutchinson 1990). The norm of N signs is :math:`\sqrt N`, exactly.

    Args:
        parameters: Tensors whose shapes, dtypes and devices the signs get.
        generator: Source of randomness, on any device; the same seed gives the same signs wherever the parameters are,
            so on all ranks. None: the CPU's global stream.
        out: Tensors to write the signs to, like the parameters; None for new ones.

    Returns:
        One tensor for each parameter.

    Raises:
        ValueError: If a parameter is not of a real floating dtype.

    Example:
        >>> import torch
        >>> (signs,) = rademacher([torch.zeros(4)], torch.Generator().manual_seed(0))
        >>> signs.abs()
        tensor([1., 1., 1., 1.])
    """
    source = torch.device("cpu") if generator is None else generator.device
    tables = {device: _sign_table(device) for device in {parameter.device for parameter in parameters}}
    signs = []
    for index, parameter in enumerate(parameters):
        if not parameter.is_floating_point():
            raise ValueError(
                f"parameters must be of a real floating dtype, got {parameter.dtype} at index {index}: leave it out"
            )
        drawn = _signs(parameter.numel(), source, generator, tables[parameter.device]).view(parameter.shape)
        signs.append(drawn.to(parameter.dtype) if out is None else out[index].copy_(drawn))
    return signs


def _signs(count: int, source: torch.device, generator: torch.Generator | None, table: Tensor) -> Tensor:
    """Signs in a row, as integers of 8 bits."""
    # every bit of a 64-bit number is a sign: drawn one by one they would cost as much as a step of a small network
    drawn = torch.empty(-(-count // 64), dtype=torch.int64, device=source).random_(_LEAST, None, generator=generator)
    octets = drawn.view(torch.uint8).to(table.device, torch.int32)
    # eight signs are one number of 64 bits, which is looked up as such
    return table.index_select(0, octets).view(torch.int8)[:count]


def _sign_table(device: torch.device) -> Tensor:
    """The eight signs that each byte stands for, packed, ``[256]``."""
    bits = torch.arange(256, device=device).unsqueeze(1) >> torch.arange(8, device=device) & 1
    return (2 * bits - 1).to(torch.int8).view(torch.int64).squeeze(1)
