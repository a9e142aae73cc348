"""ThermoMonitor: the one callback that a person adds to a Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from thermo_callbacks.callbacks import presets
from thermo_callbacks.callbacks.arguments import Loss, steps_between
from thermo_callbacks.callbacks.base import Monitor


class ThermoMonitor(Monitor):
    r"""A thermometer for a run: what training does to a model, read as a physical system.

    Reads a fixed sample of each layer's coordinates in windows: ``window`` consecutive optimizer steps, then a pause
    that costs nothing. Once in ``curvature_every_n_steps`` steps it looks closer, with extra passes through the model.
    Nothing of the run changes, and the device is waited for only when a window ends or an extra pass is taken.

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

    At each extra pass, as running averages over the extra passes that weigh recent ones more:

    - ``thermo/laplacian`` with ``_stderr``, ``_lower``, ``_upper``, ``thermo_laplacian/<layer>`` with
      ``thermo_laplacian_stderr/<layer>``: trace of the Hessian of the loss
    - ``thermo/entropy_destruction`` with ``_stderr``, ``thermo_entropy_destruction/<layer>``: nats a step that the
      curvature takes
    - ``thermo/rugh_temperature`` with ``_stderr``: configurational temperature

    and as they are at the extra pass:

    - ``thermo/entropy_rate`` with ``_stderr``, ``thermo/second_law`` (-1, 0, 1), ``thermo/second_law_score``:
      production minus destruction, its sign where it differs from zero, and by how many standard errors it does
    - ``thermo/work_efficiency`` with ``_stderr``, ``thermo/work_efficiency_product``: mean over all activations,
      weighted by the heat they take in, and product along the depth (for sequential networks)
    - ``thermo_work_efficiency/<module>``, ``thermo_learning_efficiency/<module>``, ``thermo_carnot_bound/<module>``,
      ``thermo_implied_gain/<module>``, ``thermo_dead_fraction/<module>``, ``thermo_saturated_fraction/<module>``,
      ``thermo_engine/<Activation>``: activations as heat engines (with several processes, on the first one's batches)

    Once, when training starts, if the model is a chain of linear layers with two hidden ones or more:

    - ``thermo/topology_connections``, ``thermo/topology_disorder``, ``thermo/topology_efficiency``,
      ``thermo/topology_stability``: see :func:`~thermo_callbacks.functional.topology.analyse`

    A value that does not exist is NaN, and a warning says why, once.

    Args:
        preset: ``"light"``: first-order quantities, no extra pass through the model; ``"standard"``: all of the above;
            ``"full"``: neuron states too, see :class:`~thermo_callbacks.BulkMonitor`.
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes.
        steps_between_windows: None: as many as the run has had so far, up to 19 windows; 0 to watch every step.
        sample: Coordinates watched in each layer, at least 2; None for all.
        curvature_every_n_steps: Steps between two extra passes, at least 1. The first extra pass comes
            after ``window`` steps, and their distance doubles from there.
        layers: Glob patterns of layer names, as in ``named_modules``; None for all.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed: manual
            optimization, or a step with side effects.
        seed: Seed of the choice of coordinates and of the probes.
        rest: Former name of ``steps_between_windows``, deprecated.

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
        steps_between_windows: int | None = None,
        sample: int | None = 4096,
        curvature_every_n_steps: int = 200,
        layers: Sequence[str] | None = None,
        loss_fn: Loss | None = None,
        seed: int = 0,
        rest: int | None = None,
    ) -> None:
        if preset not in presets.PRESETS:
            raise ValueError(f"preset must be one of {sorted(presets.PRESETS)}, got {preset!r}")
        super().__init__(
            presets.PRESETS[preset],
            preset=preset,
            window=window,
            steps_between_windows=steps_between(steps_between_windows, rest),
            sample=sample,
            curvature_every_n_steps=curvature_every_n_steps,
            layers=layers,
            loss_fn=loss_fn,
            seed=seed,
        )
