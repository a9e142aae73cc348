"""The narrow monitors: ThermoMonitor restricted to some of its quantities, with the arguments that those need."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

from torch import nn

from thermo_callbacks.callbacks.arguments import Loss, steps_between
from thermo_callbacks.callbacks.base import Monitor
from thermo_callbacks.callbacks.presets import plan_of
from thermo_callbacks.probes.activations import ActivationProbe
from thermo_callbacks.probes.bulk import BulkProbe


class TemperatureMonitor(Monitor):
    """Monitor restricted to temperatures: global with its error, virial, Einstein, and by layer.

    Args:
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes. None: 8 to 50, planned by the length of the run: 25 windows or more, the last at its end.
        steps_between_windows: Zero to watch every step. None: as planned; with a ``window`` of your own, or where the
            length of the run is not known, as many as the run has had so far, up to 19 windows.
        sample: Coordinates watched in each layer, at least 2; None for all.
        layers: None: all, in groups of neighbours where there are more than 16; ``"all"``: each by itself, whatever
            their number; or glob patterns of layer names, as in ``named_modules``, each layer by itself.
        seed: Seed of the choice of coordinates and of the probes.
        rest: Former name of ``steps_between_windows``, deprecated.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        window: int | None = None,
        *,
        steps_between_windows: int | None = None,
        sample: int | None = 4096,
        layers: Sequence[str] | str | None = None,
        seed: int = 0,
        rest: int | None = None,
    ) -> None:
        super().__init__(
            plan_of("TemperatureMonitor"),
            window=window,
            steps_between_windows=steps_between(steps_between_windows, rest),
            sample=sample,
            layers=layers,
            seed=seed,
        )


class EntropyMonitor(Monitor):
    """Monitor restricted to the balance of entropy: what noise produces and curvature destroys.

    Args:
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes. None: 8 to 50, planned by the length of the run: 25 windows or more, the last at its end.
        steps_between_windows: Zero to watch every step. None: as planned; with a ``window`` of your own, or where the
            length of the run is not known, as many as the run has had so far, up to 19 windows.
        sample: Coordinates watched in each layer, at least 2; None for all.
        curvature_every_n_steps: Steps between two extra passes, at least 1; None: planned, 10 in a run or one in 400
            steps, and 200 at most. The first extra pass comes after one window, and their distance doubles from there.
        layers: None: all, in groups of neighbours where there are more than 16; ``"all"``: each by itself, whatever
            their number; or glob patterns of layer names, as in ``named_modules``, each layer by itself.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed: manual
            optimization, or a step with side effects.
        seed: Seed of the choice of coordinates and of the probes.
        rest: Former name of ``steps_between_windows``, deprecated.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        window: int | None = None,
        *,
        steps_between_windows: int | None = None,
        sample: int | None = 4096,
        curvature_every_n_steps: int | None = None,
        layers: Sequence[str] | str | None = None,
        loss_fn: Loss | None = None,
        seed: int = 0,
        rest: int | None = None,
    ) -> None:
        super().__init__(
            plan_of("EntropyMonitor"),
            window=window,
            steps_between_windows=steps_between(steps_between_windows, rest),
            sample=sample,
            curvature_every_n_steps=curvature_every_n_steps,
            layers=layers,
            loss_fn=loss_fn,
            seed=seed,
        )


class FreeEnergyMonitor(Monitor):
    """Monitor restricted to the free energy, its parts, its Laplacian and the Rugh temperature.

    Args:
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes. None: 8 to 50, planned by the length of the run: 25 windows or more, the last at its end.
        steps_between_windows: Zero to watch every step. None: as planned; with a ``window`` of your own, or where the
            length of the run is not known, as many as the run has had so far, up to 19 windows.
        sample: Coordinates watched in each layer, at least 2; None for all.
        curvature_every_n_steps: Steps between two extra passes, at least 1; None: planned, 10 in a run or one in 400
            steps, and 200 at most. The first extra pass comes after one window, and their distance doubles from there.
        layers: None: all, in groups of neighbours where there are more than 16; ``"all"``: each by itself, whatever
            their number; or glob patterns of layer names, as in ``named_modules``, each layer by itself.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step, where that can't be replayed: manual
            optimization, or a step with side effects.
        within_layers: Give each layer probes of its own: as many products with the Hessian as there are layers at each
            extra pass, and far smaller errors of the layers' values.
        seed: Seed of the choice of coordinates and of the probes.
        rest: Former name of ``steps_between_windows``, deprecated.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        window: int | None = None,
        *,
        steps_between_windows: int | None = None,
        sample: int | None = 4096,
        curvature_every_n_steps: int | None = None,
        layers: Sequence[str] | str | None = None,
        loss_fn: Loss | None = None,
        within_layers: bool = False,
        seed: int = 0,
        rest: int | None = None,
    ) -> None:
        super().__init__(
            plan_of("FreeEnergyMonitor"),
            window=window,
            steps_between_windows=steps_between(steps_between_windows, rest),
            sample=sample,
            curvature_every_n_steps=curvature_every_n_steps,
            layers=layers,
            loss_fn=loss_fn,
            within_layers=within_layers,
            seed=seed,
        )


class WorkEfficiencyMonitor(Monitor):
    """Monitor restricted to activations as heat engines. Nothing is read between two extra passes.

    Args:
        curvature_every_n_steps: Steps between two extra passes, at least 1; None: planned, 10 in a run or one in 400
            steps, and 200 at most.
        activations: Classes of your own activation modules, and elementwise functions of torch (``torch.sin``), to be
            looked at besides those of ``torch.nn``.
        loss_fn: Loss of ``(pl_module, batch)``, in place of the training step; needed only for compiled models whose
            training step can't be replayed.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        curvature_every_n_steps: int | None = None,
        *,
        # not Any: the command line would leave "torch.sin" in a YAML file a string
        activations: Sequence[type[nn.Module] | Callable[..., Any]] = (),
        loss_fn: Loss | None = None,
    ) -> None:
        if isinstance(activations, str) or not isinstance(activations, Sequence | Set):
            raise ValueError(f"activations must be a list such as [MyActivation, torch.sin], got {activations!r}")
        ActivationProbe(nn.Identity(), activations=activations)  # a wrong argument fails here and not in training
        super().__init__(
            plan_of("WorkEfficiencyMonitor"), curvature_every_n_steps=curvature_every_n_steps, loss_fn=loss_fn
        )
        self.activations = tuple(activations)


class BulkMonitor(Monitor):
    r"""The bulk of a network: its neurons as a canonical ensemble. Nothing is read between two extra passes.

    **Logged values**, those of the neurons from a few samples of the batch:

    At each extra pass:

    - ``thermo/laplacian``, ``thermo_laplacian/<layer>`` (in units of the loss): trace of the Hessian of the loss
    - ``thermo/laplacian_stderr``, ``thermo/laplacian_lower``, ``thermo/laplacian_upper`` (in units of the loss): its
      standard error, and the ends of its 95 % interval
    - ``thermo/complexity`` with ``_stderr`` (in nats): how strongly the neurons are tied to one another
    - ``thermo/bulk_loss``, ``thermo/pinned_bulk_loss``, ``thermo/boundary_loss``: agitation of the neurons by one step
      of the weights, the same with the targets in place of the outputs, and the training loss
    - ``thermo/equipartition_temperature`` (in squared activations): temperature of the neurons
    - ``thermo/bulk_log_partition``, ``thermo/bulk_entropy``, ``thermo/bulk_free_energy``: partition function, entropy
      and free energy of the neurons at their temperature
    - ``thermo/bulk_first_law_residual`` (in squared activations): what the first law leaves unexplained of the change
      of the neurons' energy since the extra pass before
    - ``thermo/total_laplacian`` with ``_stderr``, ``thermo/complexity_laplacian``,
      ``thermo/complexity_laplacian_stderr`` (in units of the loss): curvature of the loss and of the complexity
      together, and that of the complexity
    - ``thermo/bulk_spectrum``: how stiff the patterns of the neurons are, a histogram in TensorBoard

    A value that does not exist is NaN, and the log ``thermo_callbacks`` says why at level INFO, once. C is
    :math:`\frac12 \ln\det G`, see :func:`~thermo_callbacks.functional.bulk_complexity`; its Laplacian is that of
    sequential networks.

    Args:
        curvature_every_n_steps: Steps between two extra passes, at least 1; None: planned, 10 in a run or one in 400
            steps, and 200 at most.
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
        curvature_every_n_steps: int | None = None,
        *,
        network: str | None = None,
        samples: int = 4,
        regulator: float = 0.1,
        loss_fn: Loss | None = None,
        seed: int = 0,
    ) -> None:
        self._bulk_probe = BulkProbe(network=network, samples=samples, regulator=regulator)
        super().__init__(
            plan_of("BulkMonitor"),
            curvature_every_n_steps=curvature_every_n_steps,
            network=network,
            samples=samples,
            regulator=regulator,
            loss_fn=loss_fn,
            seed=seed,
        )
