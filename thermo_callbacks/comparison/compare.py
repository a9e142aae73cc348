"""Compare activations: train the same network with each, under the same seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from thermo_callbacks.callbacks.lightning_names import LightningDataModule
from thermo_callbacks.comparison.activations import candidates
from thermo_callbacks.comparison.ignored_activation import refuse_ignored_activation
from thermo_callbacks.comparison.modules import MakeModule
from thermo_callbacks.comparison.ownership import held
from thermo_callbacks.comparison.progress import watch
from thermo_callbacks.comparison.result import ComparisonResult
from thermo_callbacks.comparison.run import Job, execute
from thermo_callbacks.comparison.storage import StoredRun, read_run, write_run

DEFAULT_TRAINER: Mapping[str, Any] = {"max_epochs": 10}
_OURS = ("logger", "default_root_dir")
_MOST_SEEDS = 10_000


def compare_activations(
    make_module: MakeModule,
    activations: Sequence[Any] | Mapping[str, Any],
    data: LightningDataModule | Sequence[Any],
    *,
    seeds: int | Sequence[int] = 3,
    trainer_kwargs: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = ("val_loss", "val_accuracy"),
    directory: str | Path = "comparison",
    jobs: int | None = None,
) -> ComparisonResult:
    r"""Train the same network with each of several activations, and compare them as heat engines.

    Runs of one seed begin with the same weights and see the data in the same order. Each run computes in one thread,
    with a :class:`~thermo_callbacks.ThermoMonitor` and a logger for TensorBoard of its own, and writes its result to
    ``directory/runs/<activation>-<seed>/``. On the CPU a run gives the same values every time, but for times.

    A run that raises or whose loss is no longer finite is a row that says so, and the others go on. What was finished
    when a comparison is stopped, by Ctrl-C or worse, is read the next time and not repeated; failed runs are tried
    again. If settings have changed since, that is an error. What can be seen of them is compared: structure, initial
    weights, hyperparameters and optimizer of the module, sizes of the data, and the arguments given here; the code of
    ``training_step`` can't be, so give another directory when it changes.

    Runs go on side by side with joblib: in processes of this machine, or wherever an active
    ``joblib.parallel_config(backend="dask")`` or the like puts them. In threads of one process they take turns. Tables
    and the figure are written to the directory at the end.

    Args:
        make_module: A function or class that takes an activation (a module of its own; copy it where it must not be
            shared), in its first argument or in one named ``activation``, and gives a LightningModule. Or else a
            LightningModule, its class, or a function without arguments, whose activation modules are replaced, gates
            and outputs included; a LightningModule that is given starts every run with the weights it has.
        activations: Names of torch.nn's activations, classes, modules, or functions of one tensor; or a mapping that
            gives each a name. The engine type is found for all; efficiencies are measured of torch's own activations
            and of classes that derive from one.
        data: A data module, or a pair of loaders for training and validation.
        seeds: How many seeds, from 0 on; or the seeds.
        trainer_kwargs: Arguments of the Trainer; ``{"max_epochs": 10}`` by default. A ThermoMonitor among its callbacks
            takes the place of the default one. Callbacks are copied for each run.
        metrics: Names under which the module logs validation loss and, if it does, accuracy.
        directory: Folder of all files.
        jobs: Runs at a time; None for what joblib is configured to, one if nothing is.

    Returns:
        Records of all runs, with tables, a figure and a reading.

    Raises:
        ValueError: If an argument is out of its range, ``make_module`` ignores the activation, the directory holds
            runs of other settings, or files that no comparison made or that were changed since, and this one would
            replace; or another comparison goes on in it.
        TypeError: If an argument is of a kind that can't be used.

    Example::

        result = compare_activations(lambda activation: Net(activation), ["ReLU", "GELU"], (train, val), jobs=2)
        print(*result.reading(), sep="\\n")
    """
    kwargs = DEFAULT_TRAINER if trainer_kwargs is None else trainer_kwargs
    _check(kwargs, data, metrics, directory)
    _check_calls(make_module, activations, jobs)
    chosen = candidates(activations)
    planned = [
        Job(
            candidate=candidate,
            seed=seed,
            make_module=make_module,
            data=data if isinstance(data, LightningDataModule) else tuple(data),
            trainer_kwargs=dict(kwargs),
            metrics=tuple(metrics),
            directory=Path(directory).resolve(),
        )
        for candidate in chosen
        for seed in _seeds(seeds)
    ]
    refuse_ignored_activation(make_module, chosen, planned[0].seed)
    with held(planned[0].directory, [job.name for job in planned]):
        found = {job.name: stored for job in planned if (stored := _finished(job)) is not None}
        open_jobs = [job for job in planned if job.name not in found]
        for stored in watch(_run(open_jobs, jobs), planned=len(planned), finished=len(found)):
            found[stored.record.name] = stored
        result = ComparisonResult([found[job.name].record for job in planned], planned[0].directory)
        result.write()
    return result


def _check_calls(make_module: Any, activations: Any, jobs: Any) -> None:
    if not callable(make_module):  # modules are
        raise TypeError(
            f"make_module must be a LightningModule, its class, or a function that gives one, got {make_module!r}"
        )
    if isinstance(activations, str | bytes) or not isinstance(activations, Sequence | Set | Mapping):
        raise TypeError(f"activations must be a list such as ['ReLU', 'Tanh'], got {activations!r}")
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs == 0):
        raise ValueError(f"jobs must be a whole number of runs at a time, -1 for one a core, or None, got {jobs!r}")


def _check(kwargs: Mapping[str, Any], data: Any, metrics: Sequence[str], directory: str | Path) -> None:
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise TypeError(
            f"trainer_kwargs must hold arguments of the Trainer such as {{'max_epochs': 10}}, got {kwargs!r}"
        )
    taken = [name for name in _OURS if name in kwargs]
    if taken:
        raise ValueError(
            f"trainer_kwargs may not hold {taken[0]!r}: each run has a logger and a folder of its own, under directory"
        )
    if not isinstance(data, LightningDataModule) and not (isinstance(data, (list, tuple)) and len(data) == 2):
        raise TypeError(
            f"data must be a LightningDataModule, or a pair of loaders for training and validation, got {data!r}"
        )
    listed = isinstance(metrics, Sequence) and all(isinstance(name, str) and name for name in metrics)
    if isinstance(metrics, str) or not listed or not 1 <= len(metrics) <= 2:
        raise ValueError(
            f"metrics must name validation loss and accuracy, as in ('val_loss', 'val_accuracy'), got {metrics!r}"
        )
    if not isinstance(directory, str | os.PathLike) or not str(directory).strip() or "\0" in str(directory):
        raise ValueError(f"directory must name a folder, got {directory!r}: give '.' for the one that you are in")


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    chosen: list[Any] = []
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds <= _MOST_SEEDS:
        chosen = list(range(seeds))
    elif isinstance(seeds, Sequence | Set) and not isinstance(seeds, str | bytes):
        chosen = list(seeds)
    known = [seed for seed in chosen if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32]
    if not known or len(set(known)) < len(chosen):
        raise ValueError(
            f"seeds must be a number from 1 to {_MOST_SEEDS:,}, or different seeds from 0 to 2**32 - 1, got {seeds!r}"
        )
    return known


def _finished(job: Job) -> StoredRun | None:
    """Results of an earlier comparison that need no repetition."""
    stored = read_run(job.folder)
    if stored is None or stored.record.status == "failed":
        return None
    settings = job.settings()
    for topic in {**stored.settings, **settings}:
        before, now = stored.settings.get(topic, "nothing"), settings.get(topic, "nothing")
        if before != now:
            raise ValueError(
                f"directory {str(job.directory)!r} holds the run {job.name} of other settings: {topic} was "
                f"{_around(before, now)} and is {_around(now, before)}; give another directory, or delete that one"
            )
    return stored


def _around(text: str, other: str) -> str:
    """The part of a text around its first difference from another."""
    same = next((place for place, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, same - 30)
    part = " ".join(text[start : same + 50].split())
    return f"{'...' if start else ''}{part}{'...' if same + 50 < len(text) else ''}"


def _run(jobs: Sequence[Job], at_a_time: int | None) -> Iterator[StoredRun]:
    """Make runs, and give each result as soon as it is there, if the backend can."""
    backend, _ = get_active_backend()
    ordered = "generator_unordered" if backend.supports_return_generator else "list"
    for job, stored in Parallel(n_jobs=at_a_time, return_as=ordered, batch_size=1, pre_dispatch="all")(
        delayed(_run_one)(job) for job in jobs
    ):
        if read_run(job.folder) is None:  # it went on where this folder is not to be seen
            write_run(job.folder, stored)
        yield stored


def _run_one(job: Job) -> tuple[Job, StoredRun]:
    return job, execute(job)
