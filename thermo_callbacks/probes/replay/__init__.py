"""Run a training step again without side effects."""

from thermo_callbacks.probes.replay.replay import Replay, ReplayedLoss, ReplayError, SkippedBatch, isolated

__all__ = ["Replay", "ReplayError", "ReplayedLoss", "SkippedBatch", "isolated"]
