"""Hessian-vector products by finite differences of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from thermo_callbacks.functional.curvature.hvp import check_lengths

Gradient = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]
"""Gradient of a loss as a function of the parameters' values; None for a parameter that the loss doesn't use."""
AddGradient = Callable[[Sequence[Tensor], Sequence[Tensor]], None]
"""Adds the gradient of a loss at the parameters' values, the first argument, to the second, in the same shapes."""


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
            and the same random numbers each time. The values that it is given hold during the call. None for a
            parameter that the loss doesn't use.
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
    right: list[Tensor] = []

    def add_gradient(values: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
        found = gradient(values)
        check_lengths(parameters, **{"what gradient returns": found})
        with torch.no_grad():
            for total, slope in zip(sums, found, strict=True):
                if slope is not None:
                    total.add_(slope.detach())
        if not right:
            right[:] = [total.clone() for total in sums]

    products, step = accumulated_product(add_gradient, parameters, vectors, step=step)
    return products, means_of_both_sides(right, products, step)


def accumulated_product(
    add_gradient: AddGradient,
    parameters: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    step: float | None = None,
    out: Sequence[Tensor] | None = None,
    scratch: Sequence[Tensor] | None = None,
) -> tuple[list[Tensor], float]:
    r"""Product of the Hessian with a vector from two gradients, accumulated in one set of tensors.

    .. math:: H v \approx -\frac{1}{2 h} \big( -\nabla L(q + h v) + \nabla L(q - h v) \big)

    A backward pass adds each gradient to ``.grad`` as soon as it has it, so that only one parameter's gradient is in
    fresh memory at a time, and both sides need no memory of their own. In networks of some million parameters, whose
    step takes milliseconds, fresh pages cost as much as the arithmetic on them: with ``out`` and ``scratch`` there are
    none from the second product on.

    Args:
        add_gradient: Adds the gradient of the loss at its first argument to its second, of which a dense tensor each;
            called at :math:`q + h v` and then at :math:`q - h v`. Its arguments are written to between the calls and
            after them: it must not keep them.
        parameters: Values q to differentiate at; they are read and never written.
        vectors: The vector v, in the parameters' shapes.
        step: The step h; None for the rule of :func:`finite_difference_product`.
        out: Tensors like the parameters, for the product; None for new ones.
        scratch: Tensors like the parameters, for the values on either side; None for new ones.

    Returns:
        The product in ``out``, and the step.

    Raises:
        ValueError: If ``step`` is not positive and finite, or sequences differ in length.

    Example:
        >>> import torch
        >>> def add_gradient(values, sums):  # of q squared
        ...     sums[0].add_(values[0], alpha=2.0)
        >>> q = torch.tensor([1.0, 2.0], dtype=torch.float64)
        >>> products, step = accumulated_product(add_gradient, [q], [torch.ones_like(q)], step=0.5)
        >>> products[0], step
        (tensor([2., 2.], dtype=torch.float64), 0.5)
    """
    out = [torch.empty_like(parameter.detach()) for parameter in parameters] if out is None else out
    scratch = [torch.empty_like(parameter.detach()) for parameter in parameters] if scratch is None else scratch
    check_lengths(parameters, vectors=vectors, out=out, scratch=scratch)
    with torch.no_grad():
        step = _default_step(parameters, vectors) if step is None else step
        if not 0.0 < step < math.inf:
            raise ValueError(f"step must be positive and finite, got {step}")
        for total in out:
            total.zero_()
    for signed, factor in ((step, -1.0), (-step, -0.5 / step)):
        with torch.no_grad():
            for parameter, vector, place in zip(parameters, vectors, scratch, strict=True):
                torch.add(parameter.detach(), vector, alpha=signed, out=place)
        add_gradient([place.detach() for place in scratch], out)
        with torch.no_grad():
            for total in out:
                total.mul_(factor)
    return list(out), step


def means_of_both_sides(right: Sequence[Tensor], products: Sequence[Tensor], step: float) -> list[Tensor]:
    """Gradient at the point, up to the step's square: the mean of both sides, in the memory of ``right``."""
    with torch.no_grad():
        return [slope.sub_(product, alpha=step) for slope, product in zip(right, products, strict=True)]


def _default_step(parameters: Sequence[Tensor], vectors: Sequence[Tensor]) -> float:
    """See :func:`finite_difference_product`."""
    squares = torch.stack(
        [_square(tensor).to(parameters[0].device) for tensor in (*parameters, *vectors)]
    ).tolist()  # one wait for the device
    return difference_step(parameters, squares[: len(parameters)], squares[len(parameters) :])


def difference_step(parameters: Sequence[Tensor], values: Sequence[float], directions: Sequence[float]) -> float:
    """The step of :func:`finite_difference_product` from squared norms of each parameter and of the vector in each."""
    sizes = [parameter.numel() for parameter in parameters]
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
