"""Hessian-vector products by double backward and by finite differences, and the random vectors for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Gradient = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]
"""Gradient of a loss as a function of the parameters' values; None for a parameter that the loss doesn't use."""

_LEAST = -(2**63)  # of the 64-bit integers


def rademacher(parameters: Sequence[Tensor], generator: torch.Generator | None = None) -> list[Tensor]:
    r"""Random vectors of independent signs, +1 or -1 with equal probability.

    Of all vectors with :math:`E\,v v^\top = 1` they give the trace estimate of least variance among independent,
    equally distributed entries (Hutchinson 1990). The norm of N signs is :math:`\sqrt N`, exactly.

    Args:
        parameters: Tensors whose shapes, dtypes and devices the signs get.
        generator: Source of randomness, on any device; the same seed gives the same signs wherever the parameters are,
            so on all ranks. None: the CPU's global stream.

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
    signs = []
    for index, parameter in enumerate(parameters):
        if not parameter.is_floating_point():
            raise ValueError(
                f"parameters must be of a real floating dtype, got {parameter.dtype} at index {index}: leave it out"
            )
        # every bit of a 64-bit number is a sign: drawn one by one they would cost as much as a step of a small network
        count = parameter.numel()
        drawn = torch.empty(-(-count // 64), dtype=torch.int64, device=source).random_(
            _LEAST, None, generator=generator
        )
        octets = drawn.view(torch.uint8).to(parameter.device, torch.int32)
        eights = _sign_table(parameter.dtype, parameter.device).index_select(0, octets)
        signs.append(eights.view(-1)[:count].view(parameter.shape))
    return signs


def _sign_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The signs that each byte stands for, ``[256, 8]``."""
    bits = torch.arange(256, device=device).unsqueeze(1) >> torch.arange(8, device=device) & 1
    return (2 * bits - 1).to(dtype)


def hessian_vector_product(
    gradients: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    retain_graph: bool = False,
) -> list[Tensor]:
    r"""Product of the Hessian with a vector, exactly, by a second backward pass (Pearlmutter 1994).

    .. math:: (H v)_i = \frac{\partial}{\partial q_i} \sum_j \frac{\partial L}{\partial q_j}\, v_j

    A gradient that does not require grad is that of a loss which is linear in the parameter, and one that is None
    belongs to a parameter that the loss does not use: both have no curvature. The last product of a graph frees it,
    and with it the graph of the loss.

    Args:
        gradients: Gradients :math:`\partial L/\partial q` of the loss, made with ``create_graph=True``.
        parameters: Parameters q, one for each gradient.
        vectors: The vector v, in the parameters' shapes.
        retain_graph: Keep the graph, for another product or a backward pass.

    Returns:
        The product, in the parameters' shapes; in units of the loss per unit of parameter squared, times that of v.

    Raises:
        ValueError: If the three sequences differ in length.
        RuntimeError: From autograd, if an operation of the loss has no second derivative, or the graph is freed.

    Example:
        >>> import torch
        >>> q = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> gradients = torch.autograd.grad(q[0] ** 2 * q[1], [q], create_graph=True)
        >>> hessian_vector_product(gradients, [q], [torch.tensor([1.0, 0.0])])  # first column of [[4, 2], [2, 0]]
        [tensor([4., 2.])]
    """
    check_lengths(parameters, gradients=gradients, vectors=vectors)
    curved = [(g, v) for g, v in zip(gradients, vectors, strict=True) if g is not None and g.requires_grad]
    if not curved:
        return [torch.zeros_like(parameter) for parameter in parameters]
    outputs, directions = zip(*curved, strict=True)
    products = torch.autograd.grad(
        outputs, list(parameters), grad_outputs=directions, retain_graph=retain_graph, allow_unused=True
    )
    return [_dense(product, parameter) for product, parameter in zip(products, parameters, strict=True)]


def finite_difference_product(
    gradient: Gradient,
    parameters: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    step: float | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    r"""Product of the Hessian with a vector from two gradients, where an operation has no second derivative.

    .. math:: H v \approx \frac{\nabla L(q + h v) - \nabla L(q - h v)}{2 h}

    The error is :math:`O(h^2)` from the fourth derivatives of the loss and :math:`O(\epsilon / h)` from rounding, with
    the machine epsilon :math:`\epsilon` of the parameters' dtype. The default step balances them, as is usual:

    .. math:: h = \sqrt[3]{\epsilon}\; \frac{s}{\mathrm{rms}(v)}

    with :math:`\mathrm{rms}(v)` over the tensors in which v is not zero and s the size of a typical weight: the median
    over these tensors of their root mean square, those with two or more dimensions alone if there are any. It counts
    what one coordinate moves and not the norm of the move, which grows like :math:`\sqrt N` for vectors of signs: a
    pre-activation is a sum in which the signs average out, so it moves by the share :math:`h / s` of itself, whatever
    N. Norms' gains and biases, which are of another size, don't set the scale; nor is s ever below the typical weight
    of the whole network, or a probe of biases alone would move them by next to nothing.

    Smooth float32 networks agree with :func:`hessian_vector_product` to about 1e-3. Piecewise linear ones (ReLU) don't:
    the gradient jumps at a kink, and the difference sees the jumps of the few units within the step of theirs, divided
    by the step. That noise grows like :math:`h^{-1/2}` as the step shrinks and may exceed the product several times.
    All probes of a batch share it, so their scatter doesn't show it. Take double backward there, which sees the
    curvature between kinks. 16-bit parameters leave no digits for a difference: give the values in float32.

    Args:
        gradient: Gradient of the loss as a function of the parameters' values, called twice; it must see the same batch
            and the same random numbers each time, and return tensors that the second call doesn't write to. The values
            that it is given hold during the call. None for a parameter that the loss doesn't use.
        parameters: Values q to differentiate at; they are read and never written.
        vectors: The vector v, in the parameters' shapes.
        step: The step h; None for the rule above.

    Returns:
        The product, and the mean of the two gradients, which is the gradient at q up to :math:`O(h^2)`; both in the
        parameters' shapes.

    Raises:
        ValueError: If ``step`` is not positive and finite, or sequences differ in length.

    Example:
        >>> import torch
        >>> q = torch.tensor([1.0, 2.0], dtype=torch.float64)
        >>> products, gradients = finite_difference_product(lambda q: [2 * q[0] ** 2], [q], [torch.ones_like(q)])
        >>> [round(x, 6) for x in products[0].tolist()], [round(x, 6) for x in gradients[0].tolist()]
        ([4.0, 8.0], [2.0, 8.0])
    """
    check_lengths(parameters, vectors=vectors)
    with torch.no_grad():
        step = _default_step(parameters, vectors) if step is None else step
        if not 0.0 < step < math.inf:
            raise ValueError(f"step must be positive and finite, got {step}")
        moved = [torch.empty_like(parameter.detach()) for parameter in parameters]
    right, left = (_gradient_at(gradient, parameters, vectors, signed, moved) for signed in (step, -step))
    with torch.no_grad():
        means = []
        for place in moved:
            above, below = right.pop(0), left.pop(0)  # the next mean takes the place of these
            means.append(torch.lerp(above, below, 0.5))
            torch.sub(above, below, out=place.detach()).mul_(0.5 / step)
    return [place.detach() for place in moved], means


def _gradient_at(
    gradient: Gradient, parameters: Sequence[Tensor], vectors: Sequence[Tensor], step: float, moved: Sequence[Tensor]
) -> list[Tensor]:
    """Gradient at ``parameters + step * vectors``, which are written to ``moved``."""
    # both sides and the product use that memory: fresh pages cost a small network as much as the arithmetic
    with torch.no_grad():
        for parameter, vector, place in zip(parameters, vectors, moved, strict=True):
            torch.add(parameter.detach(), vector, alpha=step, out=place.detach())
    found = gradient([place.detach() for place in moved])
    check_lengths(parameters, **{"what gradient returns": found})
    dense = [_dense(slope, parameter).detach() for slope, parameter in zip(found, parameters, strict=True)]
    owned = {place.untyped_storage().data_ptr() for place in moved}
    # the gradient of |q|^2 / 2 is its own argument, whose memory the other side needs
    return [slope.clone() if slope.untyped_storage().data_ptr() in owned else slope for slope in dense]


def _default_step(parameters: Sequence[Tensor], vectors: Sequence[Tensor]) -> float:
    """See :func:`finite_difference_product`."""
    squares = torch.stack(
        [_square(tensor).to(parameters[0].device) for tensor in (*parameters, *vectors)]
    ).tolist()  # one wait for the device
    sizes = [parameter.numel() for parameter in parameters]
    values, directions = squares[: len(sizes)], squares[len(sizes) :]
    moved = [index for index, square in enumerate(directions) if square > 0.0]
    if not moved:
        return 1.0  # the product with zero is zero at any step
    scale = max(_typical_size(parameters, values, moved), _typical_size(parameters, values, range(len(sizes))))
    vector_size = math.sqrt(sum(directions[index] for index in moved) / sum(sizes[index] for index in moved))
    epsilon = max(torch.finfo(parameters[index].dtype).eps for index in moved)
    return float(epsilon ** (1.0 / 3.0) * (scale or 1.0) / vector_size)


def _typical_size(parameters: Sequence[Tensor], squares: Sequence[float], chosen: Sequence[int]) -> float:
    """Median of the chosen tensors' root mean squares, of matrices if there are any; 0 if all are zero."""
    sized = [index for index in chosen if squares[index] > 0.0]
    matrices = [index for index in sized if parameters[index].ndim > 1]
    sizes = sorted(math.sqrt(squares[index] / parameters[index].numel()) for index in matrices or sized)
    return sizes[(len(sizes) - 1) // 2] if sizes else 0.0


def _square(tensor: Tensor) -> Tensor:
    """Squared norm, without a copy in double precision."""
    precision = torch.float32 if tensor.dtype.itemsize < 4 else tensor.dtype
    norm: Tensor = torch.linalg.vector_norm(tensor.detach(), dtype=precision)
    return norm.double().square()


def _dense(tensor: Tensor | None, like: Tensor) -> Tensor:
    """The tensor without sparsity; zeros for None."""
    if tensor is None:
        return torch.zeros_like(like, requires_grad=False)
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def check_lengths(parameters: Sequence[Tensor], **sequences: Sequence[Tensor | None]) -> None:
    """Check that all hold one entry for each parameter.

    Args:
        parameters: The parameters.
        **sequences: The arguments by name.

    Raises:
        ValueError: If one is longer or shorter.
    """
    for name, sequence in sequences.items():
        if len(sequence) != len(parameters):
            raise ValueError(
                f"{name} must hold one entry for each of the {len(parameters)} parameters, got {len(sequence)}"
            )
