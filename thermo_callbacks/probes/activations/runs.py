"""Whether a further call of an activation stands deeper in the network, or belongs to another run of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thermo_callbacks.probes.activations.gradients import Edge
from thermo_callbacks.probes.activations.hooks import Frame

MOST_NODES = 10_000  # of a graph that are looked at; a call whose past is larger counts as a deeper one


@dataclass
class Standing:
    """Where a call stands: in the modules under way, in the graph, and among the backward passes."""

    frames: tuple[Frame, ...]
    edge: Edge | None  # where the gradient of its input goes
    first: int  # number of the first node of the graph that it may make
    backward_passes: int  # begun before it
    end: int = -1  # number of the node that comes after its own


class Runs:
    """Places of calls within the runs of a network: a training step may run it twice, or be run several times itself.

    Two forward passes of one network (pairs of views, a discriminator's real and false samples), and the closures of
    LBFGS, call an activation again without putting it behind itself. A loop over a shared block does put it there. Both
    call a module again: what tells them apart is whether the input depends on the earlier call. The graph says so;
    where there is none (a frozen trunk), a module that was called again within another one is taken for a loop, and one
    that was called again by the training step for a further run.
    """

    def __init__(self) -> None:
        self._latest: dict[str, list[Standing]] = {}

    def place(self, base: str, standing: Standing) -> int:
        """Place of a call among those of its name in the latest run, from 1; a repeat begins a run."""
        run = self._latest.setdefault(base, [])
        if run and _repeats(run, standing):
            run.clear()
        run.append(standing)
        return len(run)


def _repeats(run: Sequence[Standing], standing: Standing) -> bool:
    later = standing.backward_passes != run[-1].backward_passes
    entered = _entered_again(run[-1].frames, standing.frames)
    if not later and entered is None:
        return False
    if standing.edge is not None:
        return not _depends(standing.edge[0], run)
    return later or entered == 0


def _entered_again(before: Sequence[Frame], now: Sequence[Frame]) -> int | None:
    """Depth at which one module was called again between two calls; None if it was not, or another one was."""
    for depth, (earlier, later) in enumerate(zip(before, now, strict=False)):
        if earlier is not later:
            return depth if earlier.module is later.module else None
    return None


def _depends(node: Any, run: Sequence[Standing]) -> bool:
    """Whether the graph leads from a node to one that a call of the run has made."""
    first = run[0].first
    seen, waiting = {node}, [node]
    while waiting:
        node = waiting.pop()
        number = node._sequence_nr()
        if number < first:  # older than the run
            continue
        if len(seen) > MOST_NODES or any(call.first <= number < call.end for call in run):
            return True
        following = {inner for inner, _ in node.next_functions if inner is not None} - seen
        seen |= following
        waiting += following
    return False
