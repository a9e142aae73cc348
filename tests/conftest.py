"""Settings for every test: one thread, and the same examples in every run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from thermo_callbacks.probes.activations.compiled import compiles_functions

torch.set_num_threads(1)  # sums in one order, so that a seed fixes every digit

settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True)
def _nothing_compiled_is_left() -> Iterator[None]:
    """What one test compiles is no concern of the next one in the same process."""
    yield
    if compiles_functions():
        torch._dynamo.reset()
