"""Run a training step again without side effects."""

from thermo_callbacks.probes.replay.replay import SKIPPED, Replay, ReplayedLoss, ReplayError, SkippedBatch, isolated

__all__ = ["SKIPPED", "Replay", "ReplayError", "ReplayedLoss", "SkippedBatch", "isolated"]
