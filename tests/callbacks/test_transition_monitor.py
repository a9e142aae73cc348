"""What the monitor of transition temperatures accepts: arguments, outputs of validation, states of a checkpoint."""

from __future__ import annotations

import copy
import io
import math
import pickle
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from oracles import normal
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from thermo_callbacks import TransitionTemperatureMonitor
from thermo_callbacks.callbacks.joint_validation import JointValidation
from thermo_callbacks.metrics import TransitionTemperature

SHIFT, OUTPUTS = "thermo/transition_temperature_shift", "thermo/transition_temperature_outputs"
SETS = ("a", "b")


class Run(SimpleNamespace):
    """Told from others by what it is, like a Trainer."""

    __hash__ = object.__hash__


def trainer(loaders: Any = ("a", "b"), **changes: Any) -> Any:
    """As much of a Trainer as the monitor looks at."""
    rows: list[dict[str, float]] = []
    settings = {
        "sanity_checking": False,
        "world_size": 1,
        "is_global_zero": True,
        "global_step": 0,
        "val_dataloaders": list(loaders) if isinstance(loaders, tuple) else loaders,
        "loggers": [SimpleNamespace(log_metrics=lambda row, step: rows.append({**row, "step": step}))],
        "rows": rows,
        "callback_metrics": {},
        "fit_loop": SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=7)),
    }
    return Run(**{**settings, **changes})


MODULE = SimpleNamespace(device=torch.device("cpu"))


def validate(monitor: TransitionTemperatureMonitor, steps: Any, run: Any = None) -> dict[str, float]:
    """One validation: what the steps of each dataloader returned."""
    run = trainer() if run is None else run
    monitor.on_validation_start(run, MODULE)
    for index, outputs in enumerate(steps):
        for batch, output in enumerate(outputs):
            monitor.on_validation_batch_end(run, MODULE, output, ("batch", batch), batch, index)
    monitor.on_validation_epoch_end(run, MODULE)
    return monitor.latest()


def residuals(scale: float, seed: int = 0) -> Tensor:
    return scale * normal(400, seed=seed)


def step(scale: float, seed: int = 0) -> dict[str, Tensor]:
    values = residuals(scale, seed)
    return {"losses": values.square(), "residuals": values}


def expected(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> list[float]:
    metric = TransitionTemperature()
    for state, steps in (("initial", first), ("final", second)):
        for outputs in steps:
            metric.update(state, outputs["losses"], outputs["residuals"])
    return [float(metric.compute()), float(metric.estimate().stderr)]


A, B = [step(1.5), step(1.4, 1)], [step(0.5, 2), step(0.6, 3), step(0.6, 4)]


def test_shift_from_one_set_to_the_other() -> None:
    run = trainer()
    record = validate(TransitionTemperatureMonitor(), [A, B], run)
    assert [record[SHIFT], record[f"{SHIFT}_stderr"]] == expected(A, B)
    assert math.isnan(record[OUTPUTS])
    [row] = run.rows
    assert row.pop("step") == 7
    assert repr(row) == repr(record)
    assert run.callback_metrics[SHIFT] == pytest.approx(record[SHIFT])


def test_other_places_and_names() -> None:
    monitor = TransitionTemperatureMonitor(datasets=(2, 0))
    assert validate(monitor, [A, [step(9.0)], B], trainer(("x", "y", "z")))[SHIFT] == expected(B, A)[0]
    monitor = TransitionTemperatureMonitor(datasets=("new", "old"))
    assert validate(monitor, [A, [step(9.0)], B], trainer({"old": 1, "x": 2, "new": 3}))[SHIFT] == expected(B, A)[0]


@pytest.mark.parametrize("loaders", [("a",), "a loader alone"])
def test_one_set_has_no_shift(loaders: Any) -> None:
    record = validate(TransitionTemperatureMonitor(), [A], trainer(loaders))
    assert record.keys() == {OUTPUTS, f"{OUTPUTS}_stderr"}


@pytest.mark.parametrize("reference", ["first", "previous"])
def test_reference(reference: Any) -> None:
    monitor = TransitionTemperatureMonitor(reference=reference)
    states = [[step(scale, seed)] for seed, scale in enumerate((2.0, 1.0, 0.5))]
    records = [validate(monitor, [state], trainer(("a",))) for state in states]
    assert math.isnan(records[0][OUTPUTS])
    assert records[1][OUTPUTS] == expected(states[0], states[1])[0]
    origin = states[0] if reference == "first" else states[1]
    assert [records[2][OUTPUTS], records[2][f"{OUTPUTS}_stderr"]] == expected(origin, states[2])


def outputs_of_a_classifier(classes: int) -> tuple[Tensor, Tensor]:
    logits = normal(300, classes, seed=1)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(2)).squeeze(1)


class TestForms:
    """Forms in which a validation step may return losses and outputs."""

    def test_logits(self) -> None:
        logits, labels = outputs_of_a_classifier(4)
        forms = [{"loss": cross_entropy(logits, labels), "logits": logits}]
        forms.append({"losses": cross_entropy(logits, labels, reduction="none"), "logits": logits, "loss": None})
        sharp = {"loss": cross_entropy(4 * logits, labels), "logits": 4 * logits}
        first, second = (validate(TransitionTemperatureMonitor(), [[form], [sharp]])[SHIFT] for form in forms)
        metric = TransitionTemperature()
        metric.update("initial", cross_entropy(logits, labels), logits)
        metric.update("final", cross_entropy(4 * logits, labels), 4 * logits)
        assert first == pytest.approx(float(metric.compute()), rel=1e-12)
        assert second == pytest.approx(first, rel=1e-12)

    @pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
    def test_one_logit_of_two(self, shape: tuple[int, ...]) -> None:
        logits, labels = outputs_of_a_classifier(2)
        single = logits[:, 1] - logits[:, 0]
        steps = [
            [
                {
                    "loss": binary_cross_entropy_with_logits(k * single, labels.double()),
                    "logits": k * single.reshape(shape),
                }
            ]
            for k in (1.0, 4.0)
        ]
        pairs = [[{"loss": cross_entropy(k * logits, labels), "logits": k * logits}] for k in (1.0, 4.0)]
        first, second = (validate(TransitionTemperatureMonitor(), form)[SHIFT] for form in (steps, pairs))
        assert first == pytest.approx(second, rel=1e-12)

    def test_columns(self) -> None:
        columns = [[{name: part[:, None] for name, part in outputs.items()} for outputs in steps] for steps in (A, B)]
        assert validate(TransitionTemperatureMonitor(), columns)[SHIFT] == expected(A, B)[0]

    def test_function_of_the_user(self) -> None:
        seen = []

        def read(pl_module: Any, batch: Any, step_output: Any) -> tuple[Tensor, Tensor]:
            seen.append((pl_module, batch))
            return step_output.square(), step_output

        steps = [[outputs["residuals"] for outputs in state] for state in (A, B)]
        assert validate(TransitionTemperatureMonitor(outputs_fn=read), steps)[SHIFT] == expected(A, B)[0]
        assert seen[1] == (MODULE, ("batch", 1))

    def test_validation_in_inference_mode(self) -> None:
        monitor, reference = TransitionTemperatureMonitor(), TransitionTemperatureMonitor()
        with torch.inference_mode():
            made = [[{name: part.clone() for name, part in outputs.items()} for outputs in state] for state in (A, B)]
            validate(monitor, made)
        validate(reference, [A, B])
        assert validate(monitor, [B, A]) == validate(reference, [B, A])
        assert monitor._record is not None
        assert not any(part.is_inference() for part in monitor._record)

    @pytest.mark.parametrize(
        ("outputs", "returned"),
        [
            (None, "<class 'NoneType'>"),
            (torch.ones(3), "<class 'torch.Tensor'>"),
            ({"loss": torch.ones(3), "preds": 1}, "a dictionary with the keys ['loss', 'preds']"),
            ({"logits": torch.ones(3, 2)}, "a dictionary with the keys ['logits']"),
            ({"loss": 0.3, "logits": torch.ones(3, 2)}, "a dictionary with the keys ['logits', 'loss']"),
        ],
    )
    def test_nothing_to_read(self, outputs: Any, returned: str) -> None:
        monitor, run = TransitionTemperatureMonitor(), trainer()
        text = (
            "TransitionTemperatureMonitor finds no losses and outputs: return a dictionary with 'losses' or 'loss' and "
            f"with 'logits' or 'residuals' from validation_step, or give outputs_fn. It returned {returned}."
        )
        with pytest.warns(UserWarning, match=f"^{re.escape(text)}$"):
            assert validate(monitor, [[outputs]], run) == {}
        validate(monitor, [[outputs]], run)  # once
        assert run.rows == []
        assert validate(monitor, [A, B])[SHIFT] == expected(A, B)[0]

    def test_outputs_of_a_wrong_shape_switch_it_off(self) -> None:
        monitor = TransitionTemperatureMonitor()
        images = {"loss": torch.tensor(1.0), "logits": torch.ones(2, 3, 4, 4)}
        with pytest.warns(UserWarning, match=r"is switched off .* got shape \(2, 3, 4, 4\) .* flatten positions into"):
            validate(monitor, [[images]])
        assert validate(monitor, [A, B]) == {}


class TestReasons:
    """A value that is missing is explained once."""

    def test_a_shift_within_its_error(self) -> None:
        monitor = TransitionTemperatureMonitor()
        text = (
            rf"^no value \(NaN\) of {SHIFT}: the states' entropies, [\d.]+ and [\d.]+ nats, are equal within 2 "
            r"standard errors\.$"
        )
        with pytest.warns(UserWarning, match=text):
            record = validate(monitor, [A, [step(1.45, 9)]])
        assert math.isnan(record[SHIFT])
        validate(monitor, [B, [step(0.58, 9)]])

    def test_an_empty_set(self) -> None:
        with pytest.warns(UserWarning, match=rf"{SHIFT}: the final state has no samples\.$"):
            validate(TransitionTemperatureMonitor(), [A])

    def test_another_process_gave_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(JointValidation, "settle", lambda *_, able: "unreadable")
        text = r"^TransitionTemperatureMonitor has no value: another process could not read its samples\.$"
        with pytest.warns(UserWarning, match=text):
            assert validate(TransitionTemperatureMonitor(), [A, B]) == {}

    def test_all_processes_are_asked_even_by_one_that_gave_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[bool] = []
        monkeypatch.setattr(JointValidation, "settle", lambda *_, able: asked.append(able) or "nothing")
        run = trainer()
        monitor = TransitionTemperatureMonitor()
        with pytest.warns(UserWarning, match="finds no losses"):
            validate(monitor, [[None], B], run)
        monitor._guard.quiet = True
        monitor._guard.disable("a fault")
        validate(monitor, [A, B], run)
        assert asked == [False, False]

    def test_only_one_process_speaks(self) -> None:
        monitor = TransitionTemperatureMonitor()
        monitor.setup(trainer(is_global_zero=False), nn.Linear(1, 1), "fit")
        validate(monitor, [A])


class TestLifecycle:
    """What is kept from one stage to the next, and in copies."""

    def test_sanity_check_is_no_reference(self) -> None:
        monitor, run = TransitionTemperatureMonitor(), trainer()
        assert validate(monitor, [[step(9.0)], B], trainer(sanity_checking=True)) == {}
        assert math.isnan(validate(monitor, [A, B], run)[OUTPUTS])
        assert len(run.rows) == 1

    def test_sanity_check_shows_what_is_missing(self) -> None:
        with pytest.warns(UserWarning, match="finds no losses and outputs"):
            validate(TransitionTemperatureMonitor(), [[None]], trainer(sanity_checking=True))

    def test_validation_before_the_fit_is_the_reference(self) -> None:
        model, monitor = nn.Linear(1, 1), TransitionTemperatureMonitor()
        monitor.setup(trainer(), model, "validate")
        validate(monitor, [A], trainer(("a",)))
        monitor.setup(trainer(), model, "fit")
        assert validate(monitor, [B], trainer(("a",), global_step=9))[OUTPUTS] == expected(A, B)[0]

    def test_another_fit_forgets(self) -> None:
        model, monitor = nn.Linear(1, 1), TransitionTemperatureMonitor()
        monitor.setup(trainer(), model, "fit")
        validate(monitor, [A], trainer(("a",), global_step=9))
        monitor.setup(trainer(global_step=9), model, "fit")  # goes on
        assert monitor.latest()
        monitor.setup(trainer(), model, "fit")
        assert monitor.latest() == {}
        assert math.isnan(validate(monitor, [B], trainer(("a",)))[OUTPUTS])

    def test_another_model_forgets(self) -> None:
        first, second, monitor = nn.Linear(1, 1), nn.Linear(1, 1), TransitionTemperatureMonitor()
        monitor.setup(trainer(), first, "validate")
        validate(monitor, [A], trainer(("a",)))
        monitor.setup(trainer(), second, "fit")
        assert math.isnan(validate(monitor, [B], trainer(("a",)))[OUTPUTS])

    @pytest.mark.parametrize("reference", ["first", "previous"])
    def test_state_round_trip(self, reference: Any) -> None:
        monitor, resumed = (TransitionTemperatureMonitor(reference=reference) for _ in range(2))
        validate(monitor, [A, B])
        buffer = io.BytesIO()
        torch.save(monitor.state_dict(), buffer)
        buffer.seek(0)
        resumed.load_state_dict(torch.load(buffer, weights_only=True))
        assert repr(resumed.latest()) == repr(monitor.latest())
        other = [step(0.9, 7)]
        assert validate(resumed, [B, A]) == validate(monitor, [B, A])
        assert validate(resumed, [other, A]) == validate(monitor, [other, A])

    def test_state_before_the_first_validation(self) -> None:
        resumed = TransitionTemperatureMonitor()
        resumed.load_state_dict(TransitionTemperatureMonitor().state_dict())
        assert math.isnan(validate(resumed, [A, B])[OUTPUTS])

    def test_state_of_another_version(self) -> None:
        with pytest.warns(UserWarning, match="the checkpoint's state has version 2, this package reads 1"):
            TransitionTemperatureMonitor().load_state_dict({"version": 2})

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
    def test_copies(self, duplicate: Any) -> None:
        monitor = TransitionTemperatureMonitor()
        monitor.setup(trainer(), nn.Linear(1, 1), "fit")
        validate(monitor, [A, B])
        other = duplicate(monitor)
        assert validate(other, [B, A]) == validate(monitor, [B, A])

    def test_key_tells_the_arguments(self) -> None:
        keys = {
            monitor.state_key
            for monitor in (
                TransitionTemperatureMonitor(),
                TransitionTemperatureMonitor(datasets=(1, 0)),
                TransitionTemperatureMonitor(reference="previous"),
                TransitionTemperatureMonitor(max_residuals=100),
            )
        }
        assert len(keys) == 4
        assert TransitionTemperatureMonitor().state_key == TransitionTemperatureMonitor().state_key

    def test_values_stay_on_offer(self) -> None:
        monitor, run = TransitionTemperatureMonitor(), trainer()
        record = validate(monitor, [A, B])
        monitor.on_train_epoch_end(run, MODULE)
        assert run.callback_metrics.keys() == record.keys()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"reference": "last"}, "reference must be one of first, previous, got 'last'"),
        (
            {"max_residuals": 3},
            "max_residuals must be a whole number of at least 100 to show a density, and at most 100,000,000, got 3",
        ),
        *(
            (
                {"datasets": given},
                "datasets must hold two different positions (0, 1) or names ('a', 'b') of validation dataloaders, got "
                f"{given!r}",
            )
            for given in ((0,), (1, 1), (0, -1), (0, "b"), "ab", (0.0, 1.0), (True, False))
        ),
    ],
)
def test_arguments(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        TransitionTemperatureMonitor(**arguments)


@pytest.mark.parametrize(("loaders", "names"), [(("a", "b"), "[]"), ({"x": 1, "b": 2}, "['x', 'b']")])
def test_a_name_that_is_no_dataloader(loaders: Any, names: str) -> None:
    text = f"datasets holds 'a', which is no validation dataloader: choose among {names}, or give the dataloaders as a"
    monitor = TransitionTemperatureMonitor(datasets=SETS)
    for sanity in (True, False):
        with pytest.raises(ValueError, match=f"^{re.escape(text)} dictionary$"):
            monitor.on_validation_start(trainer(loaders, sanity_checking=sanity), MODULE)
