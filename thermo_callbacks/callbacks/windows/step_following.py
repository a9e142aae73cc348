"""When optimizers step: what Lightning announces, what their hooks tell, and what their weights show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer

from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.parameters.moved import Marks
from thermo_callbacks.probes.parameters.stated import parameters_of

PATIENCE = 3
"""Steps in a row that leave no trace, after which it is said that they can't be followed."""
_LOST_WITH_SCALER = 30  # a gradient scaler skips steps until its scale fits


@dataclass
class _Followed:
    """How the steps of one optimizer are seen."""

    optimizer: Any
    inside: list[Any]  # optimizers that it holds, which step for it
    start: Marks | None  # its weights when it was last looked at, until a step was seen
    announced: bool = False  # a step is under way, and read
    running: bool = False  # it is inside of its step, or one that it holds is
    hooked: bool = False  # its own hook has told of a step: it always will
    inner: Any = None  # the optimizer inside that steps, where nobody has announced the step before
    ahead: bool | None = None  # whether it moves the weights before their gradient is there; None until that is known
    unmarked: bool = False  # it writes past the counters of its weights
    lost: int = 0  # steps in a row that left no trace
    before: Marks | None = None
    handles: list[Any] = field(default_factory=list)


class StepFollower:
    """Pairs the moments before and after each optimizer's step, however the step is made.

    Before: Lightning's announcement, or the hook before the step where nobody has announced it. After: the hook behind
    the step; where an optimizer has none that fires, the end of the batch, if its weights have moved. Where an
    optimizer steps by another one that it holds (a wrapper, SAM by ``second_step``), that one's hooks are followed.

    ``announce`` and ``arrive`` are called with the optimizer of the run before its step and after it.
    """

    def __init__(
        self, guard: Guard, *, announce: Callable[[Any], None], arrive: Callable[[Any], None], scaled: bool
    ) -> None:
        self._guard, self._announce, self._arrive, self._scaled = guard, announce, arrive, scaled
        self._followed: dict[int, _Followed] = {}
        self._alone: Marks | None = None
        self._alone_moved = 0

    def add(self, optimizer: Any) -> None:
        """Follow an optimizer of the run."""
        self._followed[id(optimizer)] = _Followed(optimizer, list(_inside(optimizer)), Marks(parameters_of(optimizer)))

    def watch_module(self, module: nn.Module) -> None:
        """Say so, if the module's parameters move though none of the optimizers followed has them."""
        own = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if all(
            set(map(id, own)).isdisjoint(map(id, parameters_of(each.optimizer))) for each in self._followed.values()
        ):
            self._alone = Marks(own)

    def attach(self) -> None:
        """Put hooks on all optimizers that have none of ours yet."""
        for entry in self._followed.values():
            if not entry.handles:
                for one in (entry.optimizer, *entry.inside):
                    entry.handles += self._hooks(entry, one)

    def detach(self) -> None:
        """Take all hooks off."""
        for entry in self._followed.values():
            for handle in entry.handles:
                handle.remove()
            entry.handles.clear()

    def __contains__(self, optimizer: object) -> bool:
        return id(optimizer) in self._followed

    def exchange(self, now: list[Any]) -> tuple[list[Any], list[Any]] | None:
        """Follow the optimizers that the run has now: those that are gone and those that are new; None if none are."""
        if len(now) == len(self._followed) and all(id(each) in self._followed for each in now):
            return None
        new = [each for each in now if each not in self]
        gone = self._followed.keys() - set(map(id, now))
        dropped = [self._followed.pop(each) for each in list(self._followed) if each in gone]
        for entry in dropped:
            for handle in entry.handles:
                handle.remove()
        for optimizer in new:
            self.add(optimizer)
        self.attach()
        return [entry.optimizer for entry in dropped], new

    def _hooks(self, entry: _Followed, one: Any) -> list[Any]:
        before, after = (
            (self._before, self._after) if one is entry.optimizer else (self._before_inner, self._after_inner)
        )
        handles: list[Any] = []
        try:  # a wrapper may inherit the methods, and have nothing that they need
            handles.append(one.register_step_post_hook(lambda *_: after(entry, one)))
            handles.append(one.register_step_pre_hook(lambda _, args, kwargs: before(entry, one, args, kwargs)))
        except Exception:  # whatever that raises
            for handle in handles:
                handle.remove()
            return []
        return handles

    def _before(self, entry: _Followed, one: Any, args: Any, kwargs: Any) -> Any:
        with self._guard.protect("following the optimizers"):
            entry.running = True
            closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
            if closure is None:
                if not entry.announced:
                    self._announce(one)
            elif entry.ahead is None:
                return _with_closure(args, kwargs, _watching(entry, closure))
        return None

    def _after(self, entry: _Followed, one: Any) -> None:
        entry.hooked, entry.running = True, False
        if not (entry.ahead and entry.inside):  # the one inside has told of it
            self._arrived(entry)

    def _before_inner(self, entry: _Followed, one: Any, args: Any, kwargs: Any) -> None:
        with self._guard.protect("following the optimizers"):
            entry.running = True
            if not entry.announced and entry.inner is None and kwargs.get("closure", args[1:] or None) is None:
                entry.inner = one
                self._announce(entry.optimizer)

    def _after_inner(self, entry: _Followed, one: Any) -> None:
        entry.running = False
        if entry.inner is one:
            entry.inner = None
            self._arrived(entry)

    def _arrived(self, entry: _Followed) -> None:
        entry.announced, entry.before, entry.start, entry.lost = False, None, None, 0
        self._arrive(entry.optimizer)

    def defers(self, optimizer: Any) -> bool:
        """Whether an announcement comes too late: the weights have moved, and a step inside is read in its place."""
        entry = self._followed.get(id(optimizer))
        return entry is not None and bool(entry.ahead) and entry.inner is None

    def announced(self, optimizer: Any) -> bool:
        """A step was announced: whether it is one of an optimizer that is followed."""
        if optimizer not in self:
            self._guard.warn_once(
                f"{self._guard.name} has no values of {type(optimizer).__name__}, whose steps are announced: it is "
                "none of trainer.optimizers"
            )
            return False
        entry = self._followed[id(optimizer)]
        # another one in the same batch, and no second evaluation of the first one's closure
        if entry.announced and not entry.hooked and not entry.running:
            self._settle(entry)
        entry.announced = True
        if not entry.hooked and entry.inner is None:
            entry.before = Marks(parameters_of(optimizer))
        return True

    def settle(self) -> None:
        """A batch has ended: find the steps that no hook has told of."""
        if self._alone is not None and self._alone.moved():
            self._alone = self._alone.again()
            self._alone_moved += 1
            if self._alone_moved == PATIENCE:
                self._alone = None
                self._guard.warn_once(
                    f"{self._guard.name} has no values: the weights move, and no optimizer from configure_optimizers() "
                    "trains them. Return the optimizer there, and call step() of the one from self.optimizers()"
                )
        for entry in self._followed.values():
            if entry.announced:
                if not entry.hooked:
                    self._settle(entry)
                entry.announced = entry.running = False
            elif entry.start is not None and entry.start.moved():
                entry.start = entry.start.again()
                self._lose(entry, f"the weights of {_name(entry)} move, and no step of it is seen")

    def _settle(self, entry: _Followed) -> None:
        """Take in a step that was announced, if the weights have moved since."""
        before = entry.before
        if before is None:
            return
        if not before.moved() and not (entry.unmarked and not self._scaled):
            # asking for values waits for the device: once, where no scaler may have skipped the step
            if not before.changed():
                self._lose(entry, f"steps of {_name(entry)} are announced, and its weights stay where they are")
                return
            entry.unmarked = True
        self._arrived(entry)

    def _lose(self, entry: _Followed, what: str) -> None:
        entry.lost += 1
        if entry.lost == (_LOST_WITH_SCALER if self._scaled else PATIENCE):
            self._guard.warn_once(
                f"{self._guard.name} has no values of {_name(entry)}: {what}. Call step() of an optimizer from "
                "self.optimizers(), or of the raw one, once for each step",
                topic=f"unseen {id(entry.optimizer)}",
            )


def _name(entry: _Followed) -> str:
    return type(entry.optimizer).__name__


def _watching(entry: _Followed, closure: Callable[[], Any]) -> Callable[[], Any]:
    """A closure that also tells whether the weights have moved before it was called."""
    start = Marks(parameters_of(entry.optimizer))

    def watching() -> Any:
        if entry.ahead is None:
            entry.ahead = start.moved() or start.changed_on_cpu()
        return closure()

    return watching


def _with_closure(args: tuple[Any, ...], kwargs: dict[str, Any], closure: Callable[[], Any]) -> Any:
    """Arguments of a step with another closure."""
    if "closure" in kwargs:
        return args, {**kwargs, "closure": closure}
    return (args[0], closure, *args[2:]), kwargs


def _inside(optimizer: Any, depth: int = 2) -> Iterator[Any]:
    """Optimizers that an optimizer holds, and that train some of its parameters."""
    own = set(map(id, parameters_of(optimizer)))
    for value in list(getattr(optimizer, "__dict__", {}).values()):
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(each, Optimizer) and each is not optimizer:
                if not own.isdisjoint(map(id, parameters_of(each))):
                    yield each
                if depth > 1:
                    yield from _inside(each, depth - 1)
