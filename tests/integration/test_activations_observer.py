"""With every step probed, training is bit for bit what it is without; and the probe sees what it should."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.activation_models import SITUATIONS, Checkpointed, Learner, Perceptron, Probing
from integration.models import RecordingLogger, quiet_trainer
from integration.observers import batches, differences, observe
from lightning.pytorch import seed_everything
from torch import nn
from torch.nn.modules import module as module_internals

from thermo_callbacks.probes.activations import ActivationProbe, is_compiled


def left_behind(model: nn.Module) -> list[str]:
    """Hooks on modules or on all of them, and modes."""
    found = [name for name, hooks in vars(module_internals).items() if name.startswith("_global") and hooks]
    found += [name for part in model.modules() for name, hooks in vars(part).items() if "_hooks" in name and hooks]
    return found + ["mode"] * torch._C._len_torch_function_stack()


@pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")
@pytest.mark.parametrize("name", SITUATIONS)
def test_training_does_not_notice(name: str, tmp_path: Path) -> None:
    net, names, module, trainer = SITUATIONS[name]
    make = partial(Learner, net, **module)
    probing = Probing()
    bare = observe(make, tmp_path, tensorboard=False, **trainer)
    watched = observe(make, tmp_path, probing, tensorboard=False, **trainer)
    assert differences(bare, watched) == []
    assert len(probing.records) == 30
    for records in probing.records:
        assert list(records) == names
        for record in records.values():
            assert 0.0 < record.work_efficiency < 1.0
            assert 0.0 < record.learning_efficiency < 2.0
            assert record.engine == "passive"


def test_the_comparison_sees_a_probe_that_disturbs(tmp_path: Path) -> None:
    class Meddling(Probing):
        def on_train_batch_end(self, *arguments: Any, **keywords: Any) -> None:
            super().on_train_batch_end(*arguments, **keywords)
            torch.rand(())

    make = partial(Learner, Perceptron)
    bare = observe(make, tmp_path, tensorboard=False)
    assert "/torch" in differences(bare, observe(make, tmp_path, Meddling(), tensorboard=False))


@pytest.mark.parametrize("net", [Perceptron, partial(Checkpointed, reentrant=True)], ids=["plain", "reentrant"])
def test_nothing_is_left_after_training(net: Any) -> None:
    probing, model = Probing(), Learner(net)
    quiet_trainer(callbacks=probing).fit(model, batches())
    assert left_behind(model) == []


def test_nothing_is_left_after_an_exception_in_training_step() -> None:
    probing, model = Probing(), Learner(Perceptron, fails_at=2)
    with pytest.raises(ZeroDivisionError):
        quiet_trainer(callbacks=probing).fit(model, batches())
    assert left_behind(model) == []
    assert len(probing.records) == 2
    assert probing.probe is not None
    half = probing.probe.result()  # the forward had come through
    assert list(half) == ["net.act", "net.elu", "net.tanh", "net.relu"]
    assert all(math.isnan(record.learning_efficiency) for record in half.values())


def test_a_replay_measures_what_the_training_does() -> None:
    class Replaying(Probing):
        """Compares each step with a pass of its own."""

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            replay = ActivationProbe(pl_module)
            with torch.random.fork_rng(devices=[]), replay:
                inputs, targets = batch
                output = pl_module.net(inputs + 0.01 * torch.randn_like(inputs))
                loss = nn.functional.mse_loss(output, targets)
                torch.autograd.grad(loss, list(pl_module.net.parameters()))
            self.replayed = replay.result()
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

        def on_train_batch_end(self, *arguments: Any, **keywords: Any) -> None:
            super().on_train_batch_end(*arguments, **keywords)
            assert repr(self.replayed) == repr(self.records[-1])

    probing = Replaying()
    quiet_trainer(callbacks=probing).fit(Learner(Perceptron), batches())
    assert len(probing.records) == 10


@pytest.mark.filterwarnings(
    "ignore:.*use of fork:DeprecationWarning", "ignore:It is recommended to use .*sync_dist=True"
)
def test_each_rank_measures_its_own_batch() -> None:
    class Comparing(Probing):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *arguments: Any, **keywords: Any) -> None:
            super().on_train_batch_end(trainer, pl_module, *arguments, **keywords)
            records = self.records[-1]
            assert list(records) == SITUATIONS["plain"].names
            mine = torch.stack([record.powers.input.sum() for record in records.values()])
            both = [torch.zeros_like(mine) for _ in range(2)]
            torch.distributed.all_gather(both, mine)
            pl_module.log("ranks_differ", float((both[0] != both[1]).all()), sync_dist=False)
            pl_module.log("records", float(len(self.records)), sync_dist=False)

    seed_everything(17, verbose=False)
    logger = RecordingLogger()
    trainer = quiet_trainer(logger=logger, callbacks=Comparing(), strategy="ddp_fork", devices=2)
    trainer.fit(Learner(Perceptron), batches())
    assert trainer.callback_metrics["ranks_differ"] == 1.0
    assert trainer.callback_metrics["records"] == 5.0


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_modules_are_recognised(in_place: bool) -> None:
    model = Learner(Perceptron)
    assert not is_compiled(model)
    if in_place:
        model.net.compile(backend="eager")
        assert is_compiled(model)
    else:
        wrapped: Any = torch.compile(model, backend="eager")
        assert is_compiled(wrapped)

        class Asking(Probing):
            answer = False

            def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
                self.answer = is_compiled(pl_module)
                raise KeyboardInterrupt

            def on_train_batch_end(self, *arguments: Any, **keywords: Any) -> None:
                raise AssertionError("not reached")

        asking = Asking()
        with pytest.raises(SystemExit):
            quiet_trainer(callbacks=asking).fit(wrapped, batches())
        assert asking.answer
