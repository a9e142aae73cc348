"""Where findings are told, and that telling them is no risk."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import RecordingLogger, Regression, loader, quiet_trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from thermo_callbacks import TemperatureMonitor, ThermoMonitor
from thermo_callbacks.callbacks.output.findings import FINDINGS_FILE
from thermo_callbacks.display.text.findings import FINDINGS_TAG, console_lines
from thermo_callbacks.findings import Finding

pytestmark = pytest.mark.filterwarnings("ignore:no value")
WINDOW, STEPS = 8, 40
CAUSE = "gradients not zeroed"


class Kept(Regression):
    """Sets no gradient to zero."""

    def optimizer_zero_grad(self, *_: Any) -> None:
        pass


def run(module: Any, monitor: Any = None, **settings: Any) -> ThermoMonitor:
    own = ThermoMonitor("light", WINDOW, steps_between_windows=0) if monitor is None else monitor
    callbacks = [own, *settings.pop("callbacks", [])]
    quiet_trainer(callbacks=callbacks, **settings).fit(module, loader(STEPS))
    return own


def test_a_healthy_run_is_told_nothing(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    monitor = run(Regression(), logger=CSVLogger(tmp_path))
    assert monitor.findings() == []
    assert [each for each in caplog.records if each.name == "thermo_callbacks"] == []
    assert list(tmp_path.rglob(FINDINGS_FILE)) == []
    assert monitor.latest()["thermo/critical_findings"] == 0.0


def test_what_is_critical_is_told_at_once_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    steps: list[int] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            steps.append(module.global_step)

    module, handler = Kept(), Listening()
    logging.getLogger("thermo_callbacks").addHandler(handler)
    try:
        monitor = run(module)
    finally:
        logging.getLogger("thermo_callbacks").removeHandler(handler)
    first, last, more = [each.getMessage() for each in caplog.records if each.name == "thermo_callbacks"]
    assert first.startswith(f"thermo_callbacks: critical: {CAUSE}. Before the backward pass of a step")
    assert last == f"thermo_callbacks: {monitor.findings()[0].line}"
    assert more == "thermo_callbacks: the evidence: monitor.findings(), or thermo-callbacks check LOGDIR"
    assert steps[0] < STEPS


def test_the_file_and_the_text_say_what_the_monitor_says(tmp_path: Path) -> None:
    board, table = TensorBoardLogger(tmp_path / "board"), CSVLogger(tmp_path / "table")
    monitor = run(Kept(), logger=[board, table])
    for folder in (board.log_dir, table.log_dir):
        content = json.loads((Path(folder) / FINDINGS_FILE).read_text(encoding="utf-8"))
        assert content["generator"] == "thermo-callbacks"
        assert [Finding.of_json(each) for each in content["findings"]] == monitor.findings()
    events = EventAccumulator(board.log_dir).Reload()
    texts = [tag for tag in events.Tags()["tensors"] if tag.endswith("text_summary")]
    assert min(texts) == f"{FINDINGS_TAG}/text_summary"  # TensorBoard shows them in this order
    shown = events.Tensors(f"{FINDINGS_TAG}/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert f"**critical: {CAUSE}**" in shown
    assert "*What to do:* Call optimizer.zero_grad()" in shown


def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, version="own")
    Path(board.log_dir).mkdir(parents=True)
    (Path(board.log_dir) / FINDINGS_FILE).write_text('{"generator": "me"}', encoding="utf-8")
    run(Kept(), logger=board)
    assert (Path(board.log_dir) / FINDINGS_FILE).read_text(encoding="utf-8") == '{"generator": "me"}'


@pytest.mark.parametrize(("kind", "epochs"), [(Kept, 1), (Regression, 3)])
def test_a_run_that_is_lost_can_be_ended(kind: type[Regression], epochs: int) -> None:
    stopping = EarlyStopping(
        "thermo/critical_findings", mode="max", stopping_threshold=0, patience=9, check_on_train_epoch_end=True
    )
    module = kind()
    run(module, callbacks=[stopping], max_epochs=3)
    assert module.global_step == epochs * STEPS


class WandbLogger(RecordingLogger):
    """Lightning's logger for W&B by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: list[dict[str, Any]] = []

    def alert(self, **details: Any) -> None:
        self.alerts.append(details)

    @property
    def experiment(self) -> Any:
        return self


def test_wandb_is_alerted() -> None:
    logger = WandbLogger()
    monitor = run(Kept(), logger=logger)
    assert {each["title"] for each in logger.alerts} == {f"thermo_callbacks: {CAUSE}"}
    assert all(each["wait_duration"] >= 60 for each in logger.alerts)  # W&B itself leaves out what comes sooner
    assert logger.alerts[-1]["text"].startswith("critical: ")
    assert monitor.findings()


def test_a_rule_that_fails_costs_the_findings_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("planted")

    monkeypatch.setattr("thermo_callbacks.callbacks.output.findings.diagnose", broken)
    told = "The search for causes of ThermoMonitor is switched off .*ValueError while asking the rules: planted"
    with pytest.warns(UserWarning, match=told):
        monitor = run(Kept())
    assert monitor.findings() == []
    assert torch.isfinite(torch.tensor(monitor.latest()["thermo/temperature"]))


def test_narrow_monitors_look_for_nothing() -> None:
    monitor = run(Kept(), TemperatureMonitor(WINDOW, steps_between_windows=0))
    assert monitor.findings() == []
    assert "thermo/critical_findings" not in monitor.latest()


def test_findings_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    first = ThermoMonitor("light", WINDOW, steps_between_windows=0)
    trainer = quiet_trainer(callbacks=[first])
    trainer.fit(Kept(), loader(STEPS))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    second = ThermoMonitor("light", WINDOW, steps_between_windows=0)
    again = quiet_trainer(callbacks=[second], max_epochs=2)
    again.fit(Kept(), loader(STEPS), ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    course = second._findings.history["thermo/kept_gradient"]
    assert len(course) == 2 * STEPS // WINDOW
    assert second.findings()[0].since_step == first.findings()[0].since_step


@pytest.mark.parametrize("count", range(8))
def test_the_console_has_five_lines_at_most(count: int) -> None:
    found = [Finding(f"cause {place}", (), "warning", 1.0, {}, 0, "Seen.", "Do.") for place in range(count)]
    info = Finding("worth knowing", (), "info", 1.0, {}, 0, "Seen.", "Do.")
    lines = console_lines([*found, info], 5)
    assert len(lines) == min(count + bool(count), 5)
    assert all(line.startswith("thermo_callbacks: ") for line in lines)
    if count > 4:
        plural = "s" * (count > 5)
        assert lines[-1].startswith(f"thermo_callbacks: {count - 4} more finding{plural}, and the evidence: ")
