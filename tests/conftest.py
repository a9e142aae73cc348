"""Settings for every test: one thread, and the same examples in every run."""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)  # sums in one order, so that a seed fixes every digit

settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")
