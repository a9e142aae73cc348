"""Shows on a GPU what the other tests show on a CPU: nothing waits for the device, and nothing changes.

python tests/gpu/check.py              # on a GPU, under five minutes; the exit status tells whether all is well
python tests/gpu/check.py --device cpu # tiny sizes, seconds
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: sums in one order
sys.path.append(str(Path(__file__).parents[1]))

import torch
from gpu.runs import LARGE, TINY, Size, train
from lightning.pytorch import Callback
from rich.console import Console
from rich.table import Table
from run_differences import places_that_differ
from torch.optim import SGD, Adam, AdamW

from thermo_callbacks import ThermoMonitor

Attach = Callable[[str], Callback]  # what is attached to a run, by the name of a preset
STEPS = 32
SHORT = Size(width=128, depth=2, symbols=512, length=64, batch=16, timed_steps=0, pairs=0)
FUSED = {
    "fused SGD": partial(SGD, lr=0.02, momentum=0.9, fused=True),
    "fused Adam": partial(Adam, lr=1e-3, fused=True),
    "fused AdamW": partial(AdamW, lr=1e-3, fused=True),
}


class Row(NamedTuple):
    """What was checked, whether it holds (None: only a figure), and the figure."""

    name: str
    holds: bool | None
    figure: str


def monitor(preset: str = "standard") -> ThermoMonitor:
    """Windows of 8 steps with pauses, and an extra pass every 12 steps."""
    return ThermoMonitor(preset, 8, steps_between_windows=8, curvature_every_n_steps=12)


def waits_only_where_something_is_logged(device: str, size: Size, attach: Attach = monitor) -> list[Row]:
    """Batches at which nothing is logged wait for the device as often as without a monitor."""
    make = partial(SGD, lr=0.02, momentum=0.9)
    bare = train(size, device, STEPS, make, keep=False, count=True)
    watched = train(size, device, STEPS, make, attach("standard"), keep=False, count=True)
    # the pass that is logged with one batch takes copies of the batch before it, and draws random numbers there
    more = [batch for batch in range(STEPS) if watched.waits[batch] > bare.waits[batch]]
    quiet = [batch for batch in more if batch not in watched.logged]
    figure = f"{STEPS - len(watched.logged)} of {STEPS} batches log nothing; {len(quiet)} of these wait more: {quiet}"
    return [
        Row("no waiting between logging points", not quiet, figure),
        Row("the count can see waiting", bool(more), f"{len(more)} batches that log wait more than without"),
    ]


def nothing_changes(device: str, size: Size) -> list[Row]:
    """With deterministic algorithms, training is the same bit for bit."""
    sgd = partial(SGD, lr=0.02, momentum=0.9)
    compare = partial(compared, device=device, size=size)
    return [
        *(compare(f"bit for bit, SGD, preset {preset}", make=sgd, preset=preset) for preset in ("standard", "full")),
        *(compare(f"bit for bit, {name}", make=make) for name, make in FUSED.items()),
        compare("bit for bit, fused AdamW, bf16-mixed", make=FUSED["fused AdamW"], precision="bf16-mixed"),
    ]


def skipped_steps(device: str, size: Size) -> list[Row]:
    """A scaler's skipped step is counted and left out, with a fused optimizer and with one that is not."""
    rows = []
    for name, make in {"SGD": partial(SGD, lr=0.02, momentum=0.9), "fused AdamW": FUSED["fused AdamW"]}.items():
        title = f"fp16 scaler with a skipped step, {name}"
        rows.append(compared(title, device, size, make, precision="16-mixed", overflow=4, skipped=True))
    return rows


def compared(
    name: str, device: str, size: Size, make: Callable[..., object], preset: str = "standard", *,
    precision: str = "32-true", overflow: int = -1, skipped: bool = False, attach: Attach = monitor,
) -> Row:  # fmt: skip
    """One run with a monitor and one without."""
    bare = train(size, device, STEPS, make, precision=precision, overflow=overflow)
    watched = train(size, device, STEPS, make, attach(preset), precision=precision, overflow=overflow)
    places = places_that_differ(bare.left, watched.left)
    temperature, laplacian = (watched.values.get(f"thermo/{tag}", float("nan")) for tag in ("temperature", "laplacian"))
    measured = temperature == temperature and laplacian == laplacian
    count = watched.values.get("thermo/skipped_steps", 0.0)
    figure = f"{len(places)} places differ {places[:3]}; T = {temperature:.3g}, {count:.0f} skipped"
    return Row(name, not places and measured and (count > 0) == skipped, figure)


def cost(device: str, size: Size) -> list[Row]:
    """Speed with / without a monitor, and the memory that an extra pass takes at its peak, in bf16-mixed."""
    # the schedule of a long run: one watched step in 20, and one extra pass in 200 steps
    steps = size.timed_steps
    plan = partial(
        ThermoMonitor, "standard", max(8, steps // 20), steps_between_windows=steps, curvature_every_n_steps=200
    )
    run = partial(train, size, device, precision="bf16-mixed", keep=False)
    make = partial(AdamW, lr=1e-4)
    run(8, make)  # warms up
    ratios, memory, parameters = [], [], 0
    for _ in range(size.pairs):
        bare, watched = run(steps, make), run(steps, make, plan())
        ratios.append(bare.seconds / watched.seconds)
        memory.append((bare.peak, watched.peak))
        parameters = bare.parameters
    passes = train(size, device, STEPS, make, monitor(), precision="bf16-mixed", keep=False)
    title = f"decoder of {parameters / 1e6:.1f} M parameters, bf16-mixed"
    rows = [Row(f"{title}: steps per second with / without", None, f"{statistics.median(ratios):.3f} {ratios}")]
    if device == "cuda":
        bare_peak = max(peak for peak, _ in memory)
        figure = f"{passes.peak / 2**30:.2f} GiB, without a monitor {bare_peak / 2**30:.2f} GiB"
        rows.append(Row(f"{title}: memory at the peak of an extra pass", None, figure))
    return rows


def checks(device: str) -> list[Row]:
    """All rows; sizes are tiny on a CPU."""
    small, large = (SHORT, LARGE) if device == "cuda" else (TINY, TINY)
    rows = waits_only_where_something_is_logged(device, small)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        rows += nothing_changes(device, small) + skipped_steps(device, small)
    finally:
        torch.use_deterministic_algorithms(before)
    return rows + cost(device, large)


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    device = parser.parse_args(arguments).device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here: --device cpu runs the same checks with tiny sizes")
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    start = time.perf_counter()
    rows = checks(device)
    table = Table(
        "check", "holds", "figure", title=f"{device}, torch {torch.__version__}, {time.perf_counter() - start:.0f} s"
    )
    for row in rows:
        table.add_row(row.name, {True: "yes", False: "NO", None: ""}[row.holds], row.figure)
    Console(width=200).print(table)
    return int(any(row.holds is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
