"""The command line: what it prints, what it refuses, and what it leaves behind."""

from __future__ import annotations

import io
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import thermo_callbacks
from thermo_callbacks.callbacks.arguments import MINIMUM_STEPS
from thermo_callbacks.commands import digits, folders
from thermo_callbacks.commands.cli import COMMANDS, main
from thermo_callbacks.commands.demo import training
from thermo_callbacks.commands.demo.settings import LEARNING_RATES, DemoSettings
from thermo_callbacks.commands.digits import load_digits
from thermo_callbacks.commands.options import FEWEST_STEPS
from thermo_callbacks.display.tensorboard.page import HEAT_MAP_TAG, LEGEND_TAG

with warnings.catch_warnings():  # of the parts that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

LAYERS = ["conv1", "conv2", "hidden", "output"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One short run of the program, as a person starts it, but into a pipe of 80 columns."""
    logdir = tmp_path_factory.mktemp("with space") / "logs"
    command = [
        sys.executable,
        "-c",
        "import sys; from thermo_callbacks.commands.cli import main; sys.exit(main())",
        "demo",
    ]
    done = subprocess.run(
        [*command, "--max-epochs", "1", "--optimizer", "sgd", "--logdir", logdir],
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    return SimpleNamespace(status=done.returncode, text=done.stdout, errors=done.stderr, logdir=logdir)


@pytest.fixture(scope="module")
def events(demo):
    accumulator = EventAccumulator(str(demo.logdir / "demo" / "version_0"))
    accumulator.Reload()
    return accumulator


def row(text, name):
    """Numbers of a row of the table."""
    return re.search(rf"^ *{name} +(-?[\d.].*?) *$", text, re.MULTILINE)[1].split()


def test_demo_prints_its_course_and_what_it_finds_and_nothing_else(demo):
    assert demo.status == 0
    # one epoch at this rate is far too little, as the loss says too
    assert re.fullmatch(
        r"thermo_callbacks: warning: rate too low\. A step [^\n]*\nthermo_callbacks: the [^\n]*\n", demo.errors
    )
    announced, _, rest = demo.text.partition("\n\n")
    assert "4,000 handwritten digits: 125 steps of sgd at a learning rate of 0.02, 32 images" in " ".join(
        announced.split()
    )
    assert rest.lstrip().startswith("Epoch 0/0")
    assert "125/125" in rest
    for noise in ("GPU", "litlogger", "Tip", "workers", "Warning", "warn", "\x1b"):
        assert noise not in demo.text


def test_demo_fits_80_columns(demo):
    lines = [line for line in demo.text.splitlines() if not line.startswith("  t")]  # commands to copy
    assert max(map(len, lines)) <= 80


def test_demo_shows_the_logged_values(demo, events):
    for layer in LAYERS:
        temperature, heat, drift, _, update = row(demo.text, layer)
        assert temperature == f"{events.Scalars(f'thermo_temperature/{layer}')[-1].value:.2e}"
        for shown, tag in ((heat, "heat"), (drift, "drift_share"), (update, "update_ratio")):
            logged = events.Scalars(f"thermo_{tag}/{layer}")[-1].value
            assert float(shown) == pytest.approx(logged, rel=0.06, abs=0.006), (layer, tag)
    ends = [row(demo.text, name)[0] for name in ("95 % from", "to")]
    assert ends == [f"{events.Scalars(f'thermo/temperature_{end}')[-1].value:.2e}" for end in ("lower", "upper")]


def test_demo_says_what_the_values_say(demo):
    text = " ".join(demo.text.partition("What this says:")[2].split())
    # each of these has a verdict, or is among what the values leave open
    words = (("Loss:", ""), ("Temperature:", "the temperature"), ("Equilibrium:", "there is equilibrium"))
    for subject, open_ in (*words, ("Noise:", "slope or noise")):
        told, _, rest = text.partition("Not told:")
        assert (told.count(subject) == 1) != (bool(open_) and open_ in rest), subject
    assert text.count("Not told:") <= 1
    assert "step 0 to 124" in text


def test_demo_ends_with_the_command_that_writes_its_report(demo, tmp_path):
    command = re.search(r"^ +thermo-callbacks (report .*)$", demo.text, re.MULTILINE)[1]
    *arguments, out = shlex.split(command)
    assert main([*arguments, str(tmp_path / out)]) == 0
    assert "Temperature" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_demo_ends_with_the_command_that_shows_its_files(demo):
    command = re.search(r"^ +tensorboard --logdir '(.*)'$", demo.text, re.MULTILINE)
    assert command[1] == str((demo.logdir / "demo" / "version_0").resolve())
    assert "Custom Scalars" in demo.text


def test_demo_writes_the_page(events):
    tags = events.Tags()
    scalars = set(tags["scalars"])
    assert {f"{family}/{layer}" for family in ("thermo_temperature", "thermo_heat") for layer in LAYERS} <= scalars
    assert {
        "thermo/temperature",
        "thermo/drift_share",
        "thermo/drift_p_value",
        "train_loss",
        "val_loss",
        "val_accuracy",
    } <= scalars
    figures = {"thermo/laplacian_by_layer", "thermo/temperature_entropy", "thermo/engines"}
    assert set(tags["images"]) == {HEAT_MAP_TAG, *figures}
    assert {"thermo/laplacian", "thermo/entropy_destruction", "thermo/work_efficiency"} <= scalars
    assert f"{LEGEND_TAG}/text_summary" in tags["tensors"]
    assert len(events.Scalars("thermo/temperature")) == 125 // 8


def test_network_learns(demo):
    accuracy = float(re.search(r"names ([\d.]+) %", demo.text)[1])
    assert accuracy > 30.0  # guessing names 10 %


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-epochs", "0"], "--max-epochs: give a whole number from 1 to 1000000, not '0'"),
        (["--max-epochs", "2.5"], "--max-epochs: give a whole number from 1 to 1000000, not '2.5'"),
        (["--max-epochs", "9" * 20], f"--max-epochs: give a whole number from 1 to 1000000, not '{'9' * 20}'"),
        (
            ["--seed", "9223372036854775808"],
            "--seed: give a whole number from 0 to 4294967295, not '9223372036854775808'",
        ),
        (["--lr", "-0.1"], "--lr: give a number above 0 such as 0.01, not '-0.1'"),
        (["--lr", "nan"], "--lr: give a number above 0 such as 0.01, not 'nan'"),
        (["--lr", "fast"], "--lr: give a number above 0 such as 0.01, not 'fast'"),
        (["--batch-size", "4001"], "--batch-size: give a whole number from 1 to 4000, not '4001'"),
        (["--batch-size", "0"], "--batch-size: give a whole number from 1 to 4000, not '0'"),
        (["--seed", "-1"], "--seed: give a whole number from 0 to 4294967295, not '-1'"),
        (["--optimizer", "sdg"], "--optimizer: invalid choice: 'sdg' (choose from 'sgd', 'momentum', 'adam', 'adamw')"),
        (["--epochs", "3"], "unrecognized arguments: --epochs 3"),
        (
            ["--batch-size", "4000", "--max-epochs", "3"],
            "--batch-size 4000 with --max-epochs 3 makes too few optimizer steps of 4000 images, 3, and a measurement "
            "takes 8: choose a batch size of at most 1333, or at least 8 epochs",
        ),
    ],
)
def test_bad_values_are_refused_in_one_line(arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(training, "train", None)
    with pytest.raises(SystemExit) as end:
        main(["demo", "--logdir", str(tmp_path / "logs"), *arguments])
    assert end.value.code == 2
    assert capsys.readouterr() == ("", f"thermo-callbacks: error: {message}\n")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("below", "message"),
    [
        ("file", "--logdir must be a folder, got '{}', which is a file: give another name"),
        ("x" * 300, "--logdir has a name of {length} signs, longer than this file system takes: give a shorter one"),
        ("file/logs", "--logdir '{}' can't be written to (Not a directory): give a folder that is yours to write"),
    ],
)
def test_logdir_that_cannot_be_written_is_refused(below, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end:
        main(["demo", "--logdir", str(tmp_path / below)])
    assert end.value.code == 2
    assert (
        capsys.readouterr().err
        == f"thermo-callbacks: error: {message.format(tmp_path / below, length=len(str(tmp_path / below)))}\n"
    )


def test_logdir_without_a_name_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["demo", "--logdir", ""])
    assert end.value.code == 2
    message = "--logdir: give the name of a folder, . for the one that you are in, not ''"
    assert capsys.readouterr().err == f"thermo-callbacks: error: {message}\n"
    assert not list(tmp_path.iterdir())


def test_logdir_without_permission_is_refused(monkeypatch, tmp_path, capsys):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.tempfile, "TemporaryFile", refuse)  # permissions don't hold back an administrator
    with pytest.raises(SystemExit) as end:
        main(["demo", "--logdir", str(tmp_path)])
    assert end.value.code == 2
    assert f"--logdir '{tmp_path}' can't be written to (Permission denied)" in capsys.readouterr().err


def test_missing_digits_are_named_with_the_cure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        main(["demo", "--logdir", str(tmp_path / "logs")])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "mlxtend" in message
    assert message.endswith('run pip install "thermo-callbacks[demo]"\n')
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_object_of_python(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert "options:" in text
    assert "<" not in text
    assert "null" not in text


def test_no_command_prints_help(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "demo" in text
    assert "compare" in text


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"thermo-callbacks {thermo_callbacks.__version__}"


def test_help_names_each_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as end:
        main(["demo", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    default = DemoSettings()
    for option in ("max_epochs", "logdir", "optimizer", "batch_size", "seed"):
        explanation = text.partition(" options: ")[2].partition(f"--{option.replace('_', '-')} ")[2]
        assert f"default: {getattr(default, option)}" in explanation.partition(" --")[0]
    assert all(f"{rate:g} for {name}" in text for name, rate in LEARNING_RATES.items())


class Interrupted(training.DigitClassifier):
    """Presses Ctrl-C at a step."""

    step = 0

    def training_step(self, batch, batch_idx):
        if self.global_step == self.step:
            raise KeyboardInterrupt
        return super().training_step(batch, batch_idx)


def process_state():
    """What a demo might leave changed in the process that calls it."""
    levels = [logging.getLogger(name).level for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric")]
    return (
        levels,
        list(warnings.filters),
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        signal.getsignal(signal.SIGINT),
    )


@pytest.mark.parametrize(("step", "shown"), [(9, "What this says"), (3, "the first measurement takes 8 steps")])
def test_interrupt_ends_in_order(step, shown, monkeypatch, tmp_path, capsys):
    Interrupted.step = step
    monkeypatch.setattr(training, "DigitClassifier", Interrupted)
    before = process_state()
    assert main(["demo", "--logdir", str(tmp_path), "--max-epochs", "1"]) == 130
    assert process_state() == before
    text = capsys.readouterr().out
    assert f"Stopped by Ctrl-C after {step} of 125 steps." in text
    assert shown in text
    assert ("whole model" in text) == (step == 9)
    assert "tensorboard --logdir" in text


class Terminated(training.DigitClassifier):
    """Is sent SIGTERM at a step, or at the end, where Lightning looks for it no more."""

    at_end = False

    def training_step(self, batch, batch_idx):
        if self.global_step == 3 and not self.at_end:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().training_step(batch, batch_idx)

    def on_train_end(self):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("at_end", [False, True], ids=["in training", "at its end"])
def test_sigterm_ends_with_the_status_of_it(at_end, monkeypatch, tmp_path, capsys):
    Terminated.at_end = at_end
    monkeypatch.setattr(training, "DigitClassifier", Terminated)
    before = (process_state(), signal.getsignal(signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        main(["demo", "--logdir", str(tmp_path), "--max-epochs", "1"])
    assert end.value.code == 143
    assert (process_state(), signal.getsignal(signal.SIGTERM)) == before
    assert "What this says" not in capsys.readouterr().out


def test_sigterm_that_the_caller_sees_to_is_left_to_him(monkeypatch, tmp_path):
    Terminated.at_end = False
    monkeypatch.setattr(training, "DigitClassifier", Terminated)
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with pytest.raises(SystemExit) as end:
            main(["demo", "--logdir", str(tmp_path), "--max-epochs", "1"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    assert end.value.code == 143  # and not 0, with which Lightning ends


@pytest.mark.parametrize("module", ["thermo_callbacks", "thermo_callbacks.commands.cli"])
def test_module_is_the_command(module):
    for arguments, status, text in (
        (["--version"], 0, f"thermo-callbacks {thermo_callbacks.__version__}\n"),
        (["demo", "--seed", "-1"], 2, "thermo-callbacks: error: --seed: give a whole number from 0 to 4294967295"),
    ):
        done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == status
        assert (done.stderr or done.stdout).startswith(text)


def test_output_without_the_signs_of_the_progress_bar_is_no_error(monkeypatch, tmp_path):
    Interrupted.step = 9
    monkeypatch.setattr(training, "DigitClassifier", Interrupted)
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["demo", "--logdir", str(tmp_path), "--max-epochs", "1"]) == 130
    output.flush()
    assert output.errors == "strict"
    text = output.buffer.getvalue().decode("ascii")
    assert "Epoch 0/0" in text
    assert "whole model" in text


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [
        ("sgd", torch.optim.SGD, 0.0),
        ("momentum", torch.optim.SGD, 0.9),
        ("adam", torch.optim.Adam, None),
        ("adamw", torch.optim.AdamW, None),
    ],
)
def test_optimizer_is_the_one_of_that_name(name, kind, momentum):
    optimizer = training.DigitClassifier(name, 0.125).configure_optimizers()
    assert type(optimizer) is kind
    assert optimizer.defaults["lr"] == 0.125
    assert optimizer.defaults.get("momentum") == momentum


def test_digits_are_split_without_overlap_and_by_the_seed():
    splits = [load_digits(seed) for seed in (0, 1)]
    for parts in splits:
        assert [tuple(part.tensors[0].shape) for part in parts] == [(4000, 1, 28, 28), (1000, 1, 28, 28)]
        counts = sum(torch.bincount(part.tensors[1], minlength=10) for part in parts)
        assert counts.tolist() == [500] * 10
        assert torch.bincount(parts[1].tensors[1], minlength=10).min() > 50  # no digit is left out of either part
    images = splits[0][0].tensors[0]
    assert float(images.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(images.std()) == pytest.approx(1.0, abs=1e-4)
    assert not torch.equal(splits[0][0].tensors[1], splits[1][0].tensors[1])


@pytest.mark.parametrize(
    ("epochs", "batch_size", "window", "windows"), [(5, 32, 8, 25), (30, 32, 20, 25), (8, 500, 8, 8)]
)
def test_demo_has_the_windows_that_everybody_gets(epochs, batch_size, window, windows):
    plan = training.planned_windows(DemoSettings(max_epochs=epochs, batch_size=batch_size))
    assert (plan.length, plan.count) == (window, windows)


def test_demo_announces_the_windows_that_it_logs(demo, events):
    assert "measures 15 times, over 8 steps each" in " ".join(demo.text.split())
    logged = events.Scalars("thermo/temperature")
    assert (len(logged), logged[-1].step) == (15, 124)


def test_shortest_window_is_the_monitor_s():
    assert FEWEST_STEPS == MINIMUM_STEPS


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_advice_on_too_few_steps_is_sound(epochs):
    with pytest.raises(ValueError, match="too few optimizer steps") as refusal:
        DemoSettings(max_epochs=epochs, batch_size=4000)
    size, least = map(int, re.search(r"at most (\d+), or at least (\d+) epochs", str(refusal.value)).groups())
    assert DemoSettings(max_epochs=epochs, batch_size=size).steps >= 8
    assert DemoSettings(max_epochs=least, batch_size=4000).steps == 8


def test_layers_of_the_network_are_those_of_the_table():
    model = training.DigitClassifier("sgd", 0.1)
    assert [name for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))] == LAYERS
    assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
