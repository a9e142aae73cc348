"""Probe of the activations that a model calls in its forward and backward pass: modules, functions, methods."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.activations.calls import CallLog, Passage, Reading, Site
from thermo_callbacks.probes.activations.engine_types import Called, EngineTypes
from thermo_callbacks.probes.activations.gradients import custom_nodes
from thermo_callbacks.probes.activations.hooks import Arguments, CallWatch, Frame, Keywords
from thermo_callbacks.probes.activations.records import ActivationRecord, make_records
from thermo_callbacks.probes.activations.registry import (
    ACTIVATION_MODULES,
    FEATURE_DIMENSION,
    Activation,
    Function,
    activation_functions,
)
from thermo_callbacks.probes.layers import ROOT, canonical_name

_BACKWARD = frozenset({Tensor.backward, torch.autograd.backward, torch.autograd.grad})


class ActivationProbe:
    r"""Measures every activation of a model in one forward and backward pass, the training's own or a replay.

    Between :meth:`start` and :meth:`stop` calls are seen wherever they stand: modules such as ``nn.ReLU``, functions of
    ``torch.nn.functional`` and ``torch``, methods of tensors, in-place ones included. Only sums over elements are kept.
    Nothing that the model computes changes; nothing of the probe is left anywhere after :meth:`stop`.

    *What counts.* Elementwise activation functions with a module in ``torch.nn`` (ReLU to Hardshrink), gates made with
    them (``x * torch.sigmoid(y)``) included, and ``activations``. Softmax, GLU and the gates inside native LSTMs don't.
    Of functions and modules that call others only the outermost counts. Calls don't count inside loss modules and
    torchmetrics, on parameters, on tensors that aren't dense floating-point ones (DTensors, those under
    ``torch.func``), or in a ``TransformerEncoderLayer`` in evaluation mode that runs fused.

    *Names.* A module's name in ``named_modules`` without wrappers; for a function, the name of the module in whose
    forward it is called, and its own: ``net.0.relu``, or ``root.relu`` outside all submodules. Each place in the depth
    has its own record: further calls are ``net.1#2``, ``net.0.relu#2`` and so on, also those of one activation object
    that stands in several places.

    *Repeats.* A pass may run a network several times: pairs of views, a discriminator's real and false samples, the
    closures of LBFGS. Calls of such runs are put together, by sums, in the record of the place. A further call belongs
    to another run if a module around it was called again, or a backward pass came between, and its input does not
    depend on the earlier call by the graph of autograd. Without a graph a module that was called again within another
    one is taken for a loop through the depth, and one called again by the training step for a further run.

    *Gradients.* :math:`\partial L/\partial z` is what comes back through this very call, even where z is used elsewhere
    too or was overwritten by the call. Where a part of a tensor is overwritten (``x[:, :3].relu_()``) there is none.
    Calls that a checkpoint repeats in the backward pass aren't counted again; with ``use_reentrant=True`` the repeated
    call brings the gradients of the one with the same input.

    *Samples and units.* The first dimension is the batch: its places are the replicates of the standard errors (in
    groups if there are more than 512). A unit is a channel of the last convolution or batch, group or instance norm,
    or a feature of the last linear layer, layer norm, embedding, product or recurrent layer; before any of these, each
    place behind the first dimension. It is dead if it never leaves the flat part of its function over batch and
    positions; a function with parameters for each unit (PReLU with many) is judged by the gradients before and behind.

    Run it in an eager replay where :func:`is_compiled` or :func:`compiles_functions` says so: compiled code calls
    nothing that could be seen, and is compiled anew where somebody watches.

    Args:
        model: The model.
        activations: Classes of further activation modules, whose forward gets its input as first argument, and further
            elementwise functions of torch (``torch.sin``).
        saturation: Slope below which an element is saturated, and a function flat.

    Raises:
        ValueError: If ``saturation`` isn't positive, or ``activations`` holds a function whose calls can't be seen.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.ReLU())
        >>> with ActivationProbe(net) as probe:
        ...     net(torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)).sum().backward()
        >>> record = probe.result()["1"]
        >>> record.activation, record.work_efficiency, record.learning_efficiency, record.engine
        ('ReLU', 0.5, 0.5, 'passive')
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        activations: Iterable[type[nn.Module] | Function] = (),
        saturation: float = 0.01,
    ) -> None:
        if not saturation > 0.0:
            raise ValueError(f"saturation must be a positive slope (for example 0.01), got {saturation}")
        activations = tuple(activations)
        self._model, self._saturation = model, saturation
        self._modules = tuple(item for item in activations if isinstance(item, type) and issubclass(item, nn.Module))
        self._functions = activation_functions(item for item in activations if item not in self._modules)
        self._watch = CallWatch(self._call_function, self._enter_module, self._leave_module)
        self._engines = EngineTypes(saturation)
        self._log = CallLog(saturation)

    @property
    def running(self) -> bool:
        """Whether a pass is being measured."""
        return self._watch.running

    def start(self) -> None:
        """Begin to measure a pass, and forget the last one."""
        self.stop()
        self._log = CallLog(self._saturation)
        self._watch.start({module: canonical_name(name) for name, module in self._model.named_modules()})

    def stop(self) -> None:
        """Remove all hooks; any number of times, also after an exception in the pass."""
        self._watch.stop()
        self._log.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def result(self) -> dict[str, ActivationRecord]:
        """Records of the last pass, by name in the order of the calls; copies all numbers to the host at once.

        Returns:
            The records; none if no activation was called.

        Raises:
            RuntimeError: If the probe is still running, or a measurement failed.
        """
        return make_records(self.reading().finish())

    def reading(self) -> Reading:
        """What :meth:`result` makes its records of, for several processes to put together before."""
        if self.running:
            raise RuntimeError("result() needs a finished pass, got a running probe: call stop() first")
        if self._log.fault is not None:
            raise RuntimeError(f"measuring activations failed: {self._log.fault}") from self._log.fault
        return self._log.read(self._engines.decide)

    def _call_function(self, function: Function, arguments: Arguments, keywords: Keywords) -> Any:
        activation, frame = self._functions.get(function), self._watch.frame
        if activation is None or (frame is not None and frame.opaque):
            self._log.features = FEATURE_DIMENSION.get(function, self._log.features)
            if function in _BACKWARD:
                self._log.backward_passes += 1
                if self._log.untraced:
                    with self._log.measuring():
                        roots = next(iter((*arguments, *keywords.values())))
                        self._log.keep(self._watch.accompany(custom_nodes(roots)))
            return function(*arguments, **keywords)
        passage = self._log.before(
            arguments[0] if arguments else keywords.get("input"),
            lambda: _function_site(frame, activation, Called(function, arguments[1:], keywords)),
            _frames_around(self._watch.frames),
        )
        output = function(*arguments, **keywords)
        self._log.after(passage, output)
        return output

    def _enter_module(self, frame: Frame, arguments: Arguments) -> Passage | None:
        if not arguments or not isinstance(frame.module, self._modules):
            return None
        return self._log.before(arguments[0], lambda: _module_site(frame), self._watch.frames)

    def _leave_module(self, passage: Passage, output: Any) -> None:
        self._log.after(passage, output)


def _module_site(frame: Frame) -> Site:
    """Place of an activation that is a module; one that is no part of the model is named like a function."""
    kind = type(frame.module).__name__
    base = frame.name if frame.named else f"{frame.name}.{kind}"
    return Site(base, kind, Called(frame.module, (), {}))


def _function_site(frame: Frame | None, activation: Activation, called: Called) -> Site:
    """Place of an activation that is a function; those that modules of their own call are these modules."""
    if frame is None:
        return Site(f"{ROOT}.{activation.name}", activation.kind, called)
    if isinstance(frame.module, ACTIVATION_MODULES):
        return _module_site(frame)
    return Site(f"{frame.name}.{activation.name}", activation.kind, called)


def _frames_around(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Modules around an activation: one whose forward is the activation is no module around it."""
    return frames[:-1] if frames and isinstance(frames[-1].module, ACTIVATION_MODULES) else frames
