"""What a monitor holds of a run: parts that live as long as one fit, and the state that goes on from fit to fit."""

from __future__ import annotations

from typing import Any

from thermo_callbacks.callbacks.checkpoint import STATE_VERSION, current_state
from thermo_callbacks.callbacks.compat import plain_state
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSchedule
from thermo_callbacks.callbacks.gradient_noise import GradientNoise
from thermo_callbacks.callbacks.inspection.inspection import Inspection
from thermo_callbacks.callbacks.output.configuration import ConfigurationLog
from thermo_callbacks.callbacks.output.findings import FindingsLog
from thermo_callbacks.callbacks.output.publisher import Publisher
from thermo_callbacks.callbacks.output.topology import TopologyLog
from thermo_callbacks.callbacks.output.untrained import UntrainedLog
from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.callbacks.settings import ConfiguredCallback
from thermo_callbacks.callbacks.windows.layer_grouping import LayerGrouping
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.parameters.transition import TypeOneTransition
from thermo_callbacks.probes.told import Told, never


class ResumableCallback(ConfiguredCallback):
    """Callback whose measurements go on in a fit that goes on, in this process or from a checkpoint."""

    def __init__(self, plan: Plan, **arguments: Any) -> None:
        super().__init__(plan, **arguments)
        self._session: Session | None = None
        self._extra_passes: ExtraPassSchedule | None = None
        self._forget()

    def _forget(self) -> None:
        self._told = Told()
        self._guard = Guard(type(self).__name__, told=self._told)
        self._publisher = Publisher(self._told)
        self._topology = TopologyLog(self._publisher, type(self).__name__, self._told)
        self._configuration = ConfigurationLog(type(self).__name__, self._told)
        self._inspection = Inspection(type(self).__name__, self._told)
        self._findings = FindingsLog(type(self).__name__, self._told)
        self._noise = GradientNoise()
        self._untrained = UntrainedLog()
        self._window_states: list[dict[str, Any]] = []
        self._extra_pass_state: dict[str, Any] = {}
        self._transition = TypeOneTransition(sample=self.sample, seed=self.seed)
        self._transition_state: dict[str, Any] = {}
        self._grouping = LayerGrouping(self.layers, self._plan.budget)

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without what belongs to the one running fit."""
        return {**plain_state(self), "_session": None, "_extra_passes": None, "_model": None}

    def _layers(self) -> dict[str, list[Any]]:
        """Layers that are trained now."""
        return {} if self._session is None else self._session.layers()

    def _current_states(self) -> list[dict[str, Any]]:
        """States of the windows now, or else the last ones there were."""
        states = self._window_states
        if self._session is not None:
            with self._guard.protect("copying its state"):
                states = self._session.state()
        return states

    def _end_session(self, states: list[dict[str, Any]] | None = None) -> None:
        """Take everything off the optimizers, and keep the states for a fit that goes on."""
        if self._session is not None:
            self._window_states = self._current_states() if states is None else states
            self._session.detach()
            self._session, self._told.has_diverged = None, never
        self._end_extra_passes()

    def _end_extra_passes(self) -> None:
        if self._extra_passes is not None:
            self._extra_pass_state = self._extra_passes.state_dict()
            self._extra_passes.close()
            self._extra_passes = None

    def _note_once(self, topic: str, message: str) -> None:
        self._guard.note_once(message, topic=topic)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain Python values, so that it loads with ``weights_only``."""
        return {
            "version": STATE_VERSION,
            "windows": self._current_states(),
            "publisher": self._publisher.state_dict(),
            "transition": self._transition_state or self._transition.state_dict(),
            "noise": self._noise.state_dict(),
            "untrained": self._untrained.state_dict(),
            "inspection": self._inspection.state_dict(),
            "findings": self._findings.state_dict(),
            "extra_passes": self._extra_pass_state if self._extra_passes is None else self._extra_passes.state_dict(),
            "groups": self._grouping.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was written: its windows end in the resumed run."""
        with self._guard.protect("loading a checkpoint"):
            state = current_state(state_dict)
            self._window_states, self._topology.logged = state["windows"], True
            self._publisher.load_state_dict(state["publisher"])
            self._untrained.load_state_dict(state.get("untrained", {}))
            self._inspection.load_state_dict(state.get("inspection", {}))
            self._findings.load_state_dict(state.get("findings", {}))
            self._transition_state = state["transition"]
            self._noise.load_state_dict(state.get("noise", {}))
            self._extra_pass_state = state["extra_passes"]
            # a run that began without groups goes on without: the names of its values stay
            self._grouping.load_state_dict(state.get("groups", {} if self._window_states else None))
