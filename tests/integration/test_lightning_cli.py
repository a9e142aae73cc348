"""LightningCLI: every monitor from YAML and from the command line, with its arguments."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from integration.models import Regression, loader
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI
from torch import nn
from torch.nn.functional import mse_loss

import thermo_callbacks

CALLBACKS = sorted(name for name in thermo_callbacks.__all__ if isinstance(getattr(thermo_callbacks, name), type))
ARGUMENTS: dict[str, tuple[Any, Any]] = {
    "activations": (["torch.nn.Softshrink", "torch.sin"], [nn.Softshrink, torch.sin]),
    "batch_size": (8, 8),
    "cooldown": (0.5, 0.5),
    "curvature_every_n_steps": (70, 70),
    "every_n_seconds": (2.5, 2.5),
    "factor": (0.25, 0.25),
    "grow": (True, True),
    "level": (0.01, 0.01),
    "loss_tolerance": (0.75, 0.75),
    "min_lr": (1e-5, 1e-5),
    "persistence": (4, 4),
    "tolerance": (0.25, 0.25),
    "warmup_steps": (40, 40),
    "datasets": (["seen", "new"], ["seen", "new"]),
    "layers": (["net.*", "head"], ["net.*", "head"]),
    "loss_fn": ("torch.nn.functional.mse_loss", mse_loss),
    "max_residuals": (300, 300),
    "network": ("net", "net"),
    "outputs_fn": ("torch.nn.functional.mse_loss", mse_loss),
    "preset": ("full", "full"),
    "reference": ("previous", "previous"),
    "regulator": (0.5, 0.5),
    "steps_between_windows": (30, 30),
    "sample": (77, 77),
    "samples": (2, 2),
    "seed": (5, 5),
    "window": (12, 12),
    "within_layers": (True, True),
}
"""What is written and what it stands for, other than the default, for each argument that a callback has."""
OTHERS = {("LiveTable", "layers"): (5, 5)}
"""Arguments of one name that mean something else."""
EXCLUDED = {("EquilibriumScheduler", "warmup_steps")}
"""Arguments that another one in the table rules out: ``grow`` is a warm-up too."""
IN_PYTHON_ONLY = {"console"}
FORMER_NAMES = {"rest"}


class Module(LightningModule):
    """Has no arguments of its own: those of the monitors are looked at here."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    # arguments of the process beside those given in Python are worth a warning to LightningCLI
    monkeypatch.setattr("sys.argv", ["script.py"])
    # LightningCLI's own calls
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def parameters_of(name: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(getattr(thermo_callbacks, name)).parameters
    left_out = IN_PYTHON_ONLY | FORMER_NAMES
    return {argument: parameter for argument, parameter in parameters.items() if argument not in left_out}


def without_former_names(arguments: dict[str, Any]) -> dict[str, Any]:
    assert all(arguments.get(name) is None for name in FORMER_NAMES)
    return {name: value for name, value in arguments.items() if name not in FORMER_NAMES}


def cli(*arguments: str) -> LightningCLI:
    return LightningCLI(
        Module, run=False, save_config_callback=None, seed_everything_default=False, args=list(arguments)
    )


def monitor_of(line: LightningCLI, name: str) -> Any:
    (monitor,) = (callback for callback in line.trainer.callbacks if type(callback).__name__ == name)
    return monitor


def write(folder: Path, name: str, init_args: dict[str, Any]) -> str:
    file = folder / "config.yaml"
    callback = {"class_path": f"thermo_callbacks.{name}", "init_args": init_args}
    file.write_text(
        yaml.safe_dump({"trainer": {"callbacks": [callback], "logger": False, "accelerator": "cpu"}}), encoding="utf-8"
    )
    return str(file)


def init_args_of(printed: str) -> dict[str, Any]:
    init_args = yaml.safe_load(printed)["trainer"]["callbacks"][0]["init_args"]
    return {argument: value for argument, value in init_args.items() if argument not in IN_PYTHON_ONLY}


def value_of(monitor: Any, argument: str) -> Any:
    value = getattr(monitor, argument)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", CALLBACKS)
def test_arguments_arrive_and_are_printed_as_they_are(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = {argument: each for argument, each in parameters_of(name).items() if (name, argument) not in EXCLUDED}
    table = {argument: OTHERS.get((name, argument), ARGUMENTS[argument]) for argument in parameters}
    written, wanted = ({argument: pair[place] for argument, pair in table.items()} for place in (0, 1))
    assert all(written[argument] != parameter.default for argument, parameter in parameters.items())
    file = write(tmp_path, name, written)
    with pytest.raises(SystemExit, match="0"):
        cli("--config", file, "--print_config")
    printed = capsys.readouterr().out
    told = without_former_names(init_args_of(printed))
    assert {argument: value for argument, value in told.items() if (name, argument) not in EXCLUDED} == written
    Path(file).write_text(printed, encoding="utf-8")
    monitor = monitor_of(cli("--config", file), name)
    assert {argument: value_of(monitor, argument) for argument in parameters} == wanted


@pytest.mark.parametrize("name", CALLBACKS)
def test_defaults_are_those_of_the_class(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, name, {})
    with pytest.raises(SystemExit, match="0"):
        cli("--config", file, "--print_config")
    printed = without_former_names(init_args_of(capsys.readouterr().out))
    defaults = {argument: parameter.default for argument, parameter in parameters_of(name).items()}
    assert printed == {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}


@pytest.mark.parametrize("name", CALLBACKS)
def test_help_has_a_text_for_every_argument(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli("--trainer.callbacks.help", f"thermo_callbacks.{name}")
    _, *shown = capsys.readouterr().out.split("\n  --trainer.callbacks.")
    texts = {text.split()[0]: " ".join(text.split()[2:]) for text in shown}
    for argument in parameters_of(name):
        assert texts[argument][0].isupper() or texts[argument].startswith(("`", "(", "--")), texts[argument]
        assert len(texts[argument].split("(type:")[0]) > 20, texts[argument]


@pytest.mark.filterwarnings("ignore:no value")  # a run of 30 steps
def test_flags_of_the_command_line_reach_a_run(tmp_path: Path) -> None:
    line = LightningCLI(
        Regression,
        run=False,
        save_config_callback=None,
        seed_everything_default=False,
        args=[
            "--trainer.callbacks+=thermo_callbacks.ThermoMonitor",
            "--trainer.callbacks.window=8",
            "--trainer.callbacks.steps_between_windows=0",
            "--trainer.callbacks.preset=light",
            f"--trainer.default_root_dir={tmp_path}",
            "--trainer.max_epochs=1",
            "--trainer.accelerator=cpu",
            "--trainer.logger=false",
            "--trainer.enable_checkpointing=false",
            "--trainer.enable_progress_bar=false",
        ],
    )
    line.trainer.fit(line.model, loader(30))
    latest = monitor_of(line, "ThermoMonitor").latest()
    assert latest["thermo/temperature"] > 0.0
    assert "thermo/laplacian" not in latest


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"preset": "heavy"}, "heavy"),
        ({"window": 3}, "window must be a whole number of at least 8 or None, got 3"),
        ({"layers": "net"}, "layers"),
        ({"windows": 30}, "windows"),
    ],
)
def test_a_wrong_argument_is_refused_before_training(
    written: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((SystemExit, ValueError)) as refusal:
        cli("--config", write(tmp_path, "ThermoMonitor", written))
    assert message in str(refusal.value) + capsys.readouterr().err


def test_a_former_name_in_an_old_file_still_works(tmp_path: Any) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(
        "trainer:\n  callbacks:\n    - {class_path: thermo_callbacks.ThermoMonitor, init_args: {rest: 30}}\n"
    )
    with pytest.warns(DeprecationWarning, match="the argument rest is called steps_between_windows now"):
        line = cli("--config", str(file))
    assert monitor_of(line, "ThermoMonitor").steps_between_windows == 30
