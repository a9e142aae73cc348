"""The end of a validation in several processes, some of which may have had no batch of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from thermo_callbacks.callbacks.agreement import several_processes
from thermo_callbacks.functional.transition_state import StateRecord, merge_states, without_free_places

UNABLE, ABSENT, ABLE = range(3)
Verdict = Literal["nothing", "go on", "unreadable"]


class JointValidation:
    """Tells when all processes of a run can end a validation, each of which has to take part.

    A process without a batch of the validation data skips all hooks of a validation, and nobody else can tell. Where
    all have said before that they have batches, a validation ends at its own end. Else it ends at the next hook that is
    called in all: at the end of the epoch, or when ``trainer.validate`` ends.
    """

    def __init__(self) -> None:
        self._all_validate = False
        self._ended = False  # a validation of this process has ended that has not been settled yet

    def begin(self, trainer: Any) -> None:
        """Training starts, in all processes: say whether there are batches to validate."""
        self._ended = self._all_validate = False
        if several_processes(trainer):
            has_batches = any(trainer.num_val_batches)  # empty where the data are loaded later on
            code = ABLE if has_batches and not trainer.reload_dataloaders_every_n_epochs else ABSENT
            self._all_validate = _extremes(trainer, code)[0] == ABLE

    def ends_now(self, trainer: Any) -> bool:
        """A validation ends in this process: whether it can be settled here."""
        self._ended = True
        return not several_processes(trainer) or (self._all_validate and trainer.state.fn == "fit")

    def ends_later(self, trainer: Any) -> bool:
        """An epoch of training ends, or all of ``trainer.validate``: whether what came before is to be settled here."""
        return several_processes(trainer) and not (self._all_validate and trainer.state.fn == "fit")

    @property
    def absent(self) -> bool:
        """Whether this process had no batch of the validation that is to be settled."""
        return not self._ended

    def settle(self, trainer: Any, *, able: bool) -> Verdict:
        """What becomes of the validation, the same in all processes; ``able``: whether this one has its sums."""
        own = ABSENT if self.absent else ABLE if able else UNABLE
        self._ended = False
        lowest, highest = _extremes(trainer, own) if several_processes(trainer) else (own, own)
        if lowest == UNABLE:
            return "unreadable"
        return "go on" if highest == ABLE else "nothing"


def _extremes(trainer: Any, code: int) -> tuple[int, int]:
    """Lowest and highest code of all processes."""
    codes = torch.tensor([-code, code], device=trainer.strategy.root_device)
    torch.distributed.all_reduce(codes, torch.distributed.ReduceOp.MAX)
    lowest, highest = codes.tolist()
    return -lowest, highest


def of_all_processes(state: StateRecord, trainer: Any) -> list[list[Tensor]]:
    """Each part of a state as each process has it."""
    # as the metrics do: strategy.all_gather keeps a graph, and warns of what torch has deprecated
    return [gather_all_tensors(part) if several_processes(trainer) else [part] for part in state]


def merged(parts: Sequence[Sequence[Tensor]]) -> StateRecord:
    """The samples of all processes."""
    if len(parts[0]) == 1:
        return without_free_places(StateRecord(*(each[0] for each in parts)))
    return without_free_places(merge_states(StateRecord(*(torch.stack(list(each)) for each in parts))))
