"""Schedule of extra passes, and the interface of the collectors that take part in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch.optim import Optimizer

from thermo_callbacks.callbacks.agreement import in_all_processes
from thermo_callbacks.callbacks.arguments import Loss
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.probes.bulk import BulkProbe
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.other_fits import is_undisturbed
from thermo_callbacks.probes.replay import Replay
from thermo_callbacks.probes.told import Told

_OTHER_FITS = (
    "{} makes no extra passes while another monitored run trains in another thread of this process: they would take "
    "back what that one does to random numbers and global variables. Train them one after the other, or each in a "
    "process of its own, for their values"
)
"""What is said where extra passes are left out, with the monitor's name to put in."""


@dataclass(frozen=True)
class ExtraPassSettings:
    """Settings of a monitor's extra passes."""

    name: str  # what to call the monitor in a warning
    seed: int
    loss_fn: Loss | None
    within_layers: bool  # each layer has probes of its own
    activations: tuple[Any, ...]  # measured besides those of torch.nn
    engines: dict[str, Any]  # takes the type of engine of each activation
    activation_groups: dict[str, Any]  # takes what is in each group
    most_activations: int | None  # more are grouped; None for never
    bulk_probe: BulkProbe
    told: Told = field(default_factory=Told)  # what was told of the run
    replays: list[Replay] = field(default_factory=list)  # the one that the collectors share, once it is there

    def replay(self, pl_module: Any) -> Replay:
        """The training step's replay: what one collector learns of it, all know."""
        if not self.replays:
            self.replays.append(Replay(pl_module, self.loss_fn))
        return self.replays[0]


class Collector:
    """Base of collectors: called at each stage of the step that is measured, they return values.

    A fault in a collector switches off that collector and nothing else. All methods do nothing unless a subclass says
    so. Where ``quiet``, warnings are left to another rank.
    """

    key: ClassVar[str]
    """Name of its state in a checkpoint."""

    def __init__(self, name: str, *, quiet: bool, told: Told | None = None) -> None:
        self.guard = Guard(name, told=told)
        self.guard.quiet = quiet

    def before_forward(self, batch: Any, batch_idx: int) -> None:
        """The batch of the step is about to be run."""

    def before_step(self, optimizer: Optimizer, scale: Callable[[], Any]) -> None:
        """An optimizer is about to step; ``scale()`` makes its gradients, not yet clipped, those of the mean loss."""

    def after_backward(self) -> Scalars:
        """Values of the batch that has been run."""
        return {}

    def after_step(self, batch: Any, batch_idx: int) -> Scalars:
        """Values of the step that was made; the batch is the next one, which the step knows nothing of."""
        return {}

    def close(self) -> None:
        """Remove all hooks and copies."""

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""


class ReplayingCollector(Collector):
    """Base of collectors that run the training step again, of which the run's own step is looked at before."""

    def __init__(self, trainer: Any, pl_module: Any, settings: ExtraPassSettings, what: str) -> None:
        super().__init__(f"{settings.name}'s {what}", quiet=not trainer.is_global_zero, told=settings.told)
        self._trainer = trainer
        with self.guard.protect("looking at the training step"):
            self._replay = settings.replay(pl_module)

    def before_forward(self, batch: Any, batch_idx: int) -> None:
        """Have the step looked at that is about to be run, before it is ever run again."""
        self._replay.watch_own_step()


class ExtraPassSchedule:
    """Calls collectors at the ``planned`` steps, and then at one in ``every``; the others cost one comparison.

    Without planned steps, the first extra pass comes after ``first`` steps, when a window has ended; the distance
    doubles from there, since a run changes fastest at its start, until it is ``every`` steps. Whether an extra pass is
    due follows from the number of the step alone, so that all ranks take it together. What the collectors share of the
    step is in ``measured``.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        *,
        every: int,
        first: int,
        planned: Sequence[int] = (),
        measured: MeasuredStep | None = None,
    ) -> None:
        self.collectors = tuple(collectors)
        self._step = measured
        self._every, self._planned = every, tuple(planned)
        self._next = self._planned[0] if self._planned else min(first, every)
        self._measured = 0
        self._open = False  # the step under way is measured
        self._running = False  # ... and its first batch is being run
        self._made = False  # the step that is measured has been made

    @property
    def measuring(self) -> bool:
        """Whether the step under way is measured."""
        return self._open

    @property
    def measures_next(self) -> bool:
        """Whether the next batch ends an extra pass: the step that is measured has been made."""
        return self._made

    def due(self, step: int) -> bool:
        """Whether an extra pass begins or ends with the next batch, which belongs to this step."""
        return self._made or (step >= self._next and not self._open)

    def batch_start(self, batch: Any, batch_idx: int, step: int) -> Scalars:
        """Values of the step before, if that was measured; get ready for the step that begins with this batch."""
        record: Scalars = {}
        if self._made:
            self._made = False
            for collector in self.collectors:
                with collector.guard.protect("measuring after a step"):
                    record |= collector.after_step(batch, batch_idx)
            if self._step is not None:
                self._step.clear()
        if step >= self._next:
            self._measured, self._next = step, self._after(step)
            self._open = self._running = True
            for collector in self._able():
                with collector.guard.protect("getting ready for a step"):
                    collector.before_forward(batch, batch_idx)
        return record

    def gives_way(self, trainer: Any, guard: Guard, step: int) -> bool:
        """Whether another watched fit of this process goes on, so that nothing is measured with the batch that is due.

        Returns:
            The same in all processes; to be asked within ``guard.invisible``.
        """
        if in_all_processes(trainer, is_undisturbed()):
            return False
        guard.warn_once(_OTHER_FITS.format(guard.name), topic=_OTHER_FITS)
        self._made = False
        if self._step is not None:
            self._step.clear()
        if step >= self._next:
            self._next = self._after(step)
        return True

    def postpone(self, step: int) -> None:
        """Begin no extra pass before this step."""
        self._next = max(self._next, step)

    def another_batch(self, batch: Any, batch_idx: int) -> None:
        """A batch is about to be run for the step that is measured."""
        if self._step is not None and self._open:
            self._step.add_batch(batch, batch_idx)

    def _after(self, step: int) -> int:
        """Step of the extra pass after one at this step."""
        if not self._planned:
            return step + min(self._every, max(1, step))
        place = bisect_right(self._planned, step)
        return self._planned[place] if place < len(self._planned) else step + self._every

    def before_step(self, optimizer: Optimizer, scale: Callable[[], Any]) -> None:
        """An optimizer is about to step; ``scale()`` makes its gradients those of the mean loss."""
        if self._open:
            for collector in self._able():
                with collector.guard.protect("copying parameters and gradients"):
                    collector.before_step(optimizer, scale)

    def batch_end(self, *, stepped: bool) -> Scalars:
        """Values of the batch that has been run; one that did not step is accumulated into the step of a later one."""
        record: Scalars = {}
        if self._running:
            self._running = False
            for collector in self.collectors:
                with collector.guard.protect("measuring a batch"):
                    record |= collector.after_backward()
        if self._open and stepped:
            self._open, self._made = False, True
        return record

    def _able(self) -> Iterator[Collector]:
        return (collector for collector in self.collectors if not collector.guard.disabled)

    def close(self) -> None:
        """Remove all hooks and copies."""
        for collector in self.collectors:
            with collector.guard.protect("ending"):
                collector.close()
        if self._step is not None:
            self._step.close()
        self._open = self._running = self._made = False

    def state_dict(self) -> dict[str, Any]:
        """Step of the next extra pass, and the states of the collectors by name."""
        states: dict[str, Any] = {}
        for collector in self._able():
            with collector.guard.protect("copying its state"):
                states[collector.key] = collector.state_dict()
        # one whose step is made ends with the next batch; one whose step is not, or can't be kept, is taken again
        made = self._step.state_dict() if self._made and self._step is not None else {}
        due = self._measured if self._open or (self._made and not made) else self._next
        return {"next": due, "every": self._every, "planned": list(self._planned), "collectors": states, "made": made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; an empty state is a fresh start."""
        if not state:
            return
        self._next = int(state["next"])
        if (made := state.get("made")) and self._step is not None:
            self._made = self._step.load_state_dict(made)
        for collector in self.collectors:
            own = state["collectors"].get(collector.key)
            if own:
                with collector.guard.protect("loading a checkpoint"):
                    collector.load_state_dict(own)
