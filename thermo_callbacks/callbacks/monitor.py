"""The monitors: one callback that a person adds to a Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from thermo_callbacks.callbacks import _plan
from thermo_callbacks.callbacks._arguments import Loss
from thermo_callbacks.callbacks._monitor import Monitor
from thermo_callbacks.probes.activations import ActivationProbe
from thermo_callbacks.probes.bulk import BulkProbe


class ThermoMonitor(Monitor):
    r"""A thermometer for a run: what training does to a model, read as a physical system.

    Reads a fixed sample of each layer's coordinates in bursts: ``window`` consecutive optimizer steps, then a rest that
    costs nothing. Once in ``curvature_every_n_steps`` steps it looks closer, with extra passes through the model.
    Nothing of the run changes, and the device is waited for only when a window ends or a look is taken.

    **Logged values** (to all loggers, to ``trainer.callback_metrics``, and in :meth:`latest`). Once a window:

    - ``thermo/temperature`` with ``_stderr``, ``_lower``, ``_upper`` (95 %), ``thermo_temperature/<layer>`` with
      ``thermo_temperature_stderr/<layer>``: kinetic temperature, in units of the loss
    - ``thermo/virial_temperature``, ``thermo/einstein_temperature``, each with ``_stderr``: two other thermometers,
      equal to it in equilibrium and for optimizers that add no noise
    - ``thermo/equilibrium_ratio`` with ``_stderr``, ``thermo_equilibrium_ratio/<layer>``: 1 when the parameters' size
      is stationary
    - ``thermo/noise_scale``, ``thermo_noise_scale/<layer>``: critical batch size, in samples
    - ``thermo/signal_share``, ``thermo_signal_share/<layer>``: part of the gradient's power that is signal
    - ``thermo/heat``, ``thermo_heat/<layer>``: cumulative heat, in units of the loss; heat of steps between windows is
      interpolated
    - ``thermo/internal_energy``, ``thermo/first_law_residual``: mean loss in the window, and what the heat leaves
      unexplained of its change since the first window (with several processes, of the first one's batches)
    - ``thermo/skipped_steps``: steps left out since their gradient was not finite

    and with preset ``"standard"``

    - ``thermo/entropy``, ``thermo_entropy/<layer>``: entropy of the trainable variables, in nats
    - ``thermo/entropy_production`` with ``_stderr``, ``thermo_entropy_production/<layer>``: nats a step that noise adds
    - ``thermo/bound_energy``, ``thermo/free_energy``: T S and U - T S, in units of the loss
    - ``thermo/transition_temperature`` with ``_stderr``, ``thermo_transition_temperature/<layer>``: change of energy
      over change of entropy of the weights since the start

    At each look, as running averages over the looks that weigh recent ones more:

    - ``thermo/laplacian`` with ``_stderr``, ``_lower``, ``_upper``, ``thermo_laplacian/<layer>`` with
      ``thermo_laplacian_stderr/<layer>``: trace of the Hessian of the loss
    - ``thermo/entropy_destruction`` with ``_stderr``, ``thermo_entropy_destruction/<layer>``: nats a step that the
      curvature takes
    - ``thermo/rugh_temperature`` with ``_stderr``: configurational temperature

    and as they are at the look:

    - ``thermo/entropy_rate`` with ``_stderr``, ``thermo/second_law`` (-1, 0, 1), ``thermo/second_law_score``:
      production minus destruction, its sign where it differs from zero, and by how many standard errors it does
    - ``thermo/work_efficiency`` with ``_stderr``, ``thermo/work_efficiency_product``: mean over all activations,
      weighted by the heat they take in, and product along the depth (for sequential networks)
    - ``thermo_work_efficiency/<module>``, ``thermo_learning_efficiency/<module>``, ``thermo_carnot_bound/<module>``,
      ``thermo_implied_gain/<module>``, ``thermo_dead_fraction/<module>``, ``thermo_saturated_fraction/<module>``,
      ``thermo_engine/<Activation>``: activations as heat engines (with several processes, on the first one's batches)

    A value that does not exist is NaN, and a warning says why, once.

    Args:
        preset: ``"light"``: first-order quantities, no extra pass through the model; ``"standard"``: all of the above;
            ``"full"``: neuron states too, see :class:`BulkMonitor`.
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes.
        rest: Steps between two windows; None: as many as the run has had so far, up to 19 windows; 0 to watch every
            step.
        sample: Coordinates watched in each layer, at least 2; None for all.
        curvature_every_n_steps: Steps between two looks at what takes extra passes, at least 1. The first look comes
            after ``window`` steps, and their distance doubles from there.
        layers: Glob patterns of layer names, as in ``named_modules``; None for all.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed: manual
            optimization, or a step with side effects.
        seed: Seed of the choice of coordinates and of the probes.

    Raises:
        ValueError: If an argument is out of its range.

    Example::

        trainer = Trainer(callbacks=[ThermoMonitor()])
    """

    def __init__(
        self,
        preset: Literal["light", "standard", "full"] = "standard",
        window: int = 50,
        *,
        rest: int | None = None,
        sample: int | None = 4096,
        curvature_every_n_steps: int = 200,
        layers: Sequence[str] | None = None,
        loss_fn: Loss | None = None,
        seed: int = 0,
    ) -> None:
        if preset not in _plan.PRESETS:
            raise ValueError(f"preset must be one of {sorted(_plan.PRESETS)}, got {preset!r}")
        super().__init__(
            _plan.PRESETS[preset],
            preset=preset,
            window=window,
            rest=rest,
            sample=sample,
            curvature_every_n_steps=curvature_every_n_steps,
            layers=layers,
            loss_fn=loss_fn,
            seed=seed,
        )


class TemperatureMonitor(Monitor):
    """:class:`ThermoMonitor` restricted to temperatures: global with its error, virial, Einstein, and by layer.

    Args:
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes.
        rest: Steps between two windows; None: as many as the run has had so far, up to 19 windows; 0 to watch every
            step.
        sample: Coordinates watched in each layer, at least 2; None for all.
        layers: Glob patterns of layer names, as in ``named_modules``; None for all.
        seed: Seed of the choice of coordinates and of the probes.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        window: int = 50,
        *,
        rest: int | None = None,
        sample: int | None = 4096,
        layers: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            _plan.TEMPERATURE,
            window=window,
            rest=rest,
            sample=sample,
            layers=layers,
            seed=seed,
        )


class EntropyMonitor(Monitor):
    """:class:`ThermoMonitor` restricted to the balance of entropy: what noise produces and curvature destroys.

    Args:
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes.
        rest: Steps between two windows; None: as many as the run has had so far, up to 19 windows; 0 to watch every
            step.
        sample: Coordinates watched in each layer, at least 2; None for all.
        curvature_every_n_steps: Steps between two looks at what takes extra passes, at least 1. The first look comes
            after ``window`` steps, and their distance doubles from there.
        layers: Glob patterns of layer names, as in ``named_modules``; None for all.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed: manual
            optimization, or a step with side effects.
        seed: Seed of the choice of coordinates and of the probes.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        window: int = 50,
        *,
        rest: int | None = None,
        sample: int | None = 4096,
        curvature_every_n_steps: int = 200,
        layers: Sequence[str] | None = None,
        loss_fn: Loss | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            _plan.ENTROPY,
            window=window,
            rest=rest,
            sample=sample,
            curvature_every_n_steps=curvature_every_n_steps,
            layers=layers,
            loss_fn=loss_fn,
            seed=seed,
        )


class FreeEnergyMonitor(Monitor):
    """:class:`ThermoMonitor` restricted to the free energy, its parts, its Laplacian and the Rugh temperature.

    Args:
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes.
        rest: Steps between two windows; None: as many as the run has had so far, up to 19 windows; 0 to watch every
            step.
        sample: Coordinates watched in each layer, at least 2; None for all.
        curvature_every_n_steps: Steps between two looks at what takes extra passes, at least 1. The first look comes
            after ``window`` steps, and their distance doubles from there.
        layers: Glob patterns of layer names, as in ``named_modules``; None for all.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed: manual
            optimization, or a step with side effects.
        within_layers: Give each layer probes of its own: as many products with the Hessian as there are layers at each
            look, and far smaller errors of the layers' values.
        seed: Seed of the choice of coordinates and of the probes.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        window: int = 50,
        *,
        rest: int | None = None,
        sample: int | None = 4096,
        curvature_every_n_steps: int = 200,
        layers: Sequence[str] | None = None,
        loss_fn: Loss | None = None,
        within_layers: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            _plan.FREE_ENERGY,
            window=window,
            rest=rest,
            sample=sample,
            curvature_every_n_steps=curvature_every_n_steps,
            layers=layers,
            loss_fn=loss_fn,
            within_layers=within_layers,
            seed=seed,
        )


class WorkEfficiencyMonitor(Monitor):
    """:class:`ThermoMonitor` restricted to activations as heat engines. Nothing is read between two looks.

    Args:
        curvature_every_n_steps: Steps between two looks, at least 1.
        activations: Classes of your own activation modules, and elementwise functions of torch (``torch.sin``), to be
            looked at besides those of ``torch.nn``.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step; needed only for compiled models whose
            training step can't be replayed.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self, curvature_every_n_steps: int = 200, *, activations: Sequence[Any] = (), loss_fn: Loss | None = None
    ) -> None:
        ActivationProbe(nn.Identity(), extra=activations)  # a wrong argument fails here and not in training
        super().__init__(_plan.WORK, curvature_every_n_steps=curvature_every_n_steps, loss_fn=loss_fn)
        self.activations = tuple(activations)


class BulkMonitor(Monitor):
    r"""The bulk of a network: its neurons as a canonical ensemble. Nothing is read between two looks.

    At each look, on a few samples of the batch:

    - ``thermo/complexity`` with ``_stderr``: :math:`C = \frac12 \ln\det G`, in nats; ``thermo/bulk_spectrum``: spectrum
      of G, a histogram in TensorBoard
    - ``thermo/bulk_loss``, ``thermo/pinned_bulk_loss``, ``thermo/boundary_loss``: agitation of the neurons by one step
      of the weights, the same with the output neurons pinned to the targets, and the loss of the training step
    - ``thermo/equipartition_temperature``: 2 H / n of the bulk loss, and at this temperature
      ``thermo/bulk_log_partition``, ``thermo/bulk_entropy``, ``thermo/bulk_free_energy``
    - ``thermo/bulk_first_law_residual``: what T (dS + dC) leaves unexplained of the change of the ensemble's mean loss
      since the last look
    - ``thermo/laplacian``, ``thermo/complexity_laplacian``, ``thermo/total_laplacian``, each with ``_stderr``:
      Laplacian of the loss, of the complexity (sequential networks), and of the total free energy

    Args:
        curvature_every_n_steps: Steps between two looks, at least 1.
        network: Name of the network among the module's submodules; None finds the one that the training step calls.
        samples: Samples of the batch that are looked at, at least 1.
        regulator: The regulator :math:`m^2`, positive.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed.
        seed: Seed of the random vectors.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        curvature_every_n_steps: int = 200,
        *,
        network: str | None = None,
        samples: int = 4,
        regulator: float = 0.1,
        loss_fn: Loss | None = None,
        seed: int = 0,
    ) -> None:
        self._bulk_probe = BulkProbe(network=network, samples=samples, regulator=regulator)
        super().__init__(
            _plan.BULK,
            curvature_every_n_steps=curvature_every_n_steps,
            network=network,
            samples=samples,
            regulator=regulator,
            loss_fn=loss_fn,
            seed=seed,
        )
