"""ThermoMonitor: the one callback that a person adds to a Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from thermo_callbacks.callbacks import presets
from thermo_callbacks.callbacks.arguments import Loss, steps_between
from thermo_callbacks.callbacks.base import Monitor


class ThermoMonitor(Monitor):
    r"""A thermometer for a run: what training does to a model, read as a physical system.

    Reads a fixed sample of each layer's coordinates in windows: some consecutive optimizer steps, then a pause that
    costs nothing. Now and then it measures more, with extra passes through the model. Windows and extra passes are
    planned by the length of the run: 25 windows or more, the last one ending with it, and 10 extra passes or more.
    Where the length is not known, windows are 50 steps long and extra passes 200 steps apart. Nothing of the run
    changes, and the device is waited for only when a window ends or an extra pass is taken.

    **Logged values** (to all loggers, to ``trainer.callback_metrics``, and in :meth:`latest`):

    Once a window:

    - ``thermo/temperature``, ``thermo_temperature/<layer>`` (in units of the loss): kinetic temperature
    - ``thermo/temperature_stderr``, ``thermo/temperature_lower``, ``thermo/temperature_upper`` (in units of the loss):
      its standard error, and the ends of its 95 % interval
    - ``thermo/virial_temperature`` with ``_stderr`` (in units of the loss): another thermometer, equal to the kinetic
      one in equilibrium
    - ``thermo/einstein_temperature`` with ``_stderr`` (in units of the loss): another thermometer, equal to the kinetic
      one for optimizers that add no noise
    - ``thermo/einstein_excess`` with ``_stderr``: share of the agitation that does not come through the gradient, per
      share that does
    - ``thermo/internal_energy`` (in units of the loss): mean loss in the window (with several processes, the mean of
      theirs)
    - ``thermo/heat`` with ``_stderr``, ``thermo_heat/<layer>`` (in units of the loss): cumulative heat, and the error
      of what is interpolated between windows
    - ``thermo/first_law_residual`` (in units of the loss): what the heat leaves unexplained of the change of the loss
      since the first window
    - ``thermo/skipped_steps``: steps left out since their gradient was not finite
    - ``thermo/noise_scale``, ``thermo_noise_scale/<layer>`` (in samples): critical batch size
    - ``thermo/noise_scale_lower`` (in samples): the lower end of its 95 % interval
    - ``thermo/noise_scale_upper`` (in samples): the upper end of its 95 % interval
    - ``thermo/signal_share`` with ``_stderr``, ``thermo_signal_share/<layer>``: part of the gradient's power that is
      signal
    - ``thermo/noise_temperature`` with ``_stderr`` (in units of the loss): kinetic temperature of the noise alone,
      without the slope that turns within a window
    - ``thermo/update_ratio``, ``thermo_update_ratio/<layer>``: size of a step's move relative to the weights
    - ``thermo/gradient_norm``, ``thermo_gradient_norm/<layer>`` (in units of the loss per weight): root mean square
      norm of the gradient of the mean loss, before clipping
    - ``thermo/weight_norm`` (in weights): root mean square norm of the weights
    - ``thermo/weight_growth`` with ``_stderr`` (in per 1,000 steps): relative growth of the norm of the weights in
      1,000 steps, with its standard error
    - ``thermo/decay_share``: part that weight decay has in what moves the weights, only where a group has weight decay
    - ``thermo/clip_factor``, ``thermo/clipped_share``: what clipping leaves of the gradient, and the share of steps
      that it touches; only where it is expected or seen
    - ``thermo/untrained_share``: share of the model's weights that no step of the window could change; a text lists
      them and says why
    - ``thermo/learning_rate`` (in of the optimizer): largest learning rate when the window ended
    - ``thermo/epsilon_share``: part that the constant has in the denominator of Adam and its like; only where they are
      used
    - ``thermo/kept_gradient``: how much of a step's gradient was there before its own backward pass; in automatic
      optimization
    - ``thermo/batch_likeness``: how much more the means of batches differ than with independent samples (analysis of
      variance)
    - ``thermo/broken_batches``: share of the watched batches with NaN or infinity among their inputs
    - ``thermo/input_size`` (in of the inputs): root mean square of the inputs that are real numbers
    - ``thermo/input_shift`` (in standard deviations): how far the mean input has moved since the first window, without
      what is chance
    - ``thermo/critical_findings`` (in findings): how many findings of severity critical there are now
    - ``thermo/drift_share``, ``thermo_drift_share/<layer>``: part of the change of the weights' size that is steady,
      not to and fro
    - ``thermo/drift_p_value``: how often a window without drift shows as much by chance

    When training starts:

    - ``thermo/topology_connections``, ``thermo/topology_disorder``, ``thermo/topology_efficiency``,
      ``thermo/topology_stability``: shape of the network, where it is a chain of linear layers with two hidden ones or
      more

    Once a window, with the presets ``"standard"`` and ``"full"``:

    - ``thermo/entropy`` with ``_stderr``, ``thermo_entropy/<layer>`` (in nats): entropy of the weights
    - ``thermo/free_energy`` (in units of the loss): mean loss less the bound energy, which training with noise lowers
    - ``thermo/bound_energy`` (in units of the loss): the part of the energy that the swinging of the weights accounts
      for
    - ``thermo/transition_temperature`` with ``_stderr`` (in units of the loss per nat): loss given up since the start
      over the entropy of the weights' values given up

    At each extra pass, as a ratio of sums over all of them, with the presets ``"standard"`` and ``"full"``:

    - ``thermo/rugh_temperature`` with ``_stderr`` (in units of the loss): configurational temperature

    At each extra pass, with the presets ``"standard"`` and ``"full"``:

    - ``thermo/step_efficiency`` with ``_stderr``, ``thermo/step_transfer``, ``thermo/step_transfer_stderr``: what a
      step makes of the descent that its gradient promises, on its own batch and on the next
    - ``thermo_heat_share/<layer>``: each layer's part of the descent
    - ``thermo/entropy_destruction`` with ``_stderr``, ``thermo_entropy_destruction/<layer>`` (in nats per step):
      entropy that the curvature takes in a step
    - ``thermo/laplacian``, ``thermo_laplacian/<layer>`` (in units of the loss): trace of the Hessian of the loss
    - ``thermo/laplacian_stderr``, ``thermo/laplacian_lower``, ``thermo/laplacian_upper`` (in units of the loss): its
      standard error, and the ends of its 95 % interval
    - ``thermo/work_efficiency`` with ``_stderr``, ``_product``, ``thermo_work_efficiency/<module>``: mean over all
      activations, weighted by the power that they take in, and product along the depth (with several processes, on the
      batches of all)
    - ``thermo_learning_efficiency/<module>``: share of the learning signal that gets back
    - ``thermo_learning_signal/<module>``: power of the learning signal at each activation, per unit, against that at
      the last
    - ``thermo_engine/<ActivationType>``: work efficiency of all activations of a type
    - ``thermo_dead_fraction/<module>``: share of the units that never leave the flat part of their function
    - ``thermo_saturated_fraction/<module>``: share of the values at which the activation is flat

    A value that does not exist is NaN. Where there is something to do about it a warning says why, else the log
    ``thermo_callbacks`` at level INFO, once for each reason.

    Args:
        preset: ``"light"``: first-order quantities, no extra pass through the model; ``"standard"``: all of the above;
            ``"full"``: neuron states too, see :class:`~thermo_callbacks.BulkMonitor`.
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes. None: 8 to 50, planned by the length of the run: 25 windows or more, the last at its end.
        steps_between_windows: Zero to watch every step. None: as planned; with a ``window`` of your own, or where the
            length of the run is not known, as many as the run has had so far, up to 19 windows.
        sample: Coordinates watched in each layer, at least 2; None for all.
        curvature_every_n_steps: Steps between two extra passes, at least 1; None: planned, 10 in a run or one in 400
            steps, and 200 at most. The first extra pass comes after one window, and their distance doubles from there.
        layers: None: all, in groups of neighbours where there are more than 16 or, with the preset's number of
            quantities, more than have room in 250 tags; ``"all"``: each by itself, whatever their number; or glob
            patterns of layer names, as in ``named_modules``, each layer by itself.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed: manual
            optimization, or a step with side effects.
        batch_size: Samples in each batch, where the batches don't show it; None: they are counted.
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
        window: int | None = None,
        *,
        steps_between_windows: int | None = None,
        sample: int | None = 4096,
        curvature_every_n_steps: int | None = None,
        layers: Sequence[str] | str | None = None,
        loss_fn: Loss | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        rest: int | None = None,
    ) -> None:
        if not isinstance(preset, str) or preset not in presets.PRESETS:
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
            batch_size=batch_size,
            seed=seed,
        )
