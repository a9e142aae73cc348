"""What the comparison counts, with records made up; that a run is handed over as in a plain loop; and its file."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import peers
import peers_ours
import pytest
import torch
from faults import CASES, CAUSES, fit
from peers_record import Count, Mark, PeerRecord, Row, Said, Tool, by_phrases, count, mark, row, within, without_figures
from peers_thermoclaw import by_layer
from peers_watch import Watcher, modes_kept, part_of, ranked

from thermo_callbacks.findings import Finding

causes = by_phrases({"diverges": ("rate too high",), "asleep": ("dead units", "layer not trained")})


def record(name: str, *said: Said, error: str = "") -> PeerRecord:
    return PeerRecord("made-up", name, 0, 1.0, list(said), error)


def test_an_alarm_in_a_healthy_run_is_counted_and_an_information_is_not():
    assert mark(record("sgd", Said("diverges")), CASES["sgd"], causes) == Mark(alarm=True)
    assert mark(record("sgd", Said("diverges", "info")), CASES["sgd"], causes) == Mark(alarm=False)
    assert mark(record("sgd"), CASES["sgd"], causes) == Mark(alarm=False)


@pytest.mark.parametrize(
    ("said", "cause", "layer"),
    [
        ([Said("asleep", layers=("net.2", "net.0"))], True, True),
        ([Said("asleep", layers=("net.3.weight",))], True, True),  # inside of the planted one
        ([Said("asleep", layers=("net.20",))], True, False),
        ([Said("asleep", layers=("net.0", "net.2"))], True, False),  # not first
        ([Said("diverges"), Said("asleep", layers=("net.2",))], False, True),
        ([Said("asleep", "info", ("net.2",)), Said("diverges", layers=("net.0",))], False, False),
        ([Said("diverges")], False, False),
        ([], False, False),
    ],
)
def test_the_first_alarm_decides_on_the_cause_and_the_first_layer_on_the_layer(said, cause, layer):
    found = mark(record("dead_relus", *said), CASES["dead_relus"], causes)
    assert (found.cause, found.layer) == (cause, layer)
    assert count([found.cause, None]) == Count(int(cause), 1)


def test_no_layer_is_asked_for_where_none_is_planted():
    assert mark(record("rate_to_nan", Said("diverges", layers=("net.0",))), CASES["rate_to_nan"], causes).layer is None


def test_a_row_counts_runs_of_each_kind():
    records = [
        record("sgd", Said("diverges")),
        record("adam"),
        record("momentum", error="ValueError: no"),
        record("rate_to_nan", Said("diverges")),
        record("dead_relus", Said("diverges", layers=("net.3",))),
        record("label_noise"),
    ]
    counted = row(records, CASES, causes)
    assert counted == Row(Count(1, 3), Count(2, 3), Count(1, 3), Count(1, 1), 1)
    assert str(counted.found) == "2 of 3"


def test_words_that_no_phrase_knows_are_an_error():
    with pytest.raises(ValueError, match="no phrase of the tool is known in 'all is well'"):
        causes("all is well")
    with pytest.raises(ValueError, match=re.escape("not among the causes of the suite: ['bad luck']")):
        by_phrases({"unlucky": ("bad luck",)})


def test_a_sentence_is_the_same_with_other_figures():
    said = [
        without_figures(f"{share}% of layers grew {times}x (slow: 10^-{times})")
        for share, times in ((30, 2.5), (4.1, 7))
    ]
    assert said == ["of layers grew x (slow: )"] * 2


def test_a_module_is_within_itself_and_its_parents_only():
    assert within("net.2", ("net.2",))
    assert within("net.2.weight", ("net.2",))
    assert not within("net", ("net.2",))
    assert not within("net.21", ("net.2",))


def test_the_gravest_comes_first_and_equals_keep_their_order():
    said = [Said("a", "info"), Said("b", "warning"), Said("c", "critical"), Said("d", "warning")]
    assert [each.words for each in ranked(said)] == ["c", "b", "d", "a"]


def test_the_causes_of_our_own_findings_are_the_words_of_the_suite():
    finding = Finding("layer rate too high", ("net.2",), "critical", 1.0, {}, 30, "It moves.", "Lower its rate.")
    assert peers_ours.as_said([finding]) == [Said("layer rate too high", "critical", ("net.2",), 30)]
    assert all(peers_ours.causes(cause) == {cause} for cause in CAUSES)
    with pytest.raises(ValueError, match="'bad luck' is not among the causes"):
        peers_ours.causes("bad luck")


class Plain(Watcher):
    """Keeps what a plain loop would hand over."""

    def __init__(self, run):
        super().__init__(run)
        self.seen, self.unclipped, self.parts, self.batches = [], [], [], []

    def before_step(self, module, optimizer):
        self.unclipped.append(self.norm(optimizer))

    def after_step(self, module, optimizer):
        self.seen.append((self.step, self.loss, self.norm(optimizer), optimizer))
        self.parts.append(part_of(module, optimizer)[0])

    def after_batch(self, module):
        self.batches.append(self.step)

    @staticmethod
    def norm(optimizer):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    def said(self):
        return [Said("diverges", step=self.step)]


def watched(name, steps):
    """A case, cut short, with the plain watcher."""
    run = CASES[name].make(0)
    run.settings["max_steps"] = steps
    watcher = Plain(run)
    fit(run, [watcher])
    return watcher


def test_gradients_are_there_before_clipping_and_after_the_step():
    watcher = watched("always_clipped", 3)
    assert [step for step, *_ in watcher.seen] == [1, 2, 3]
    assert all(norm > 0.11 for norm in watcher.unclipped)
    assert all(norm == pytest.approx(0.1, rel=1e-3) for _, _, norm, _ in watcher.seen)


def test_the_loss_of_an_accumulated_step_is_the_mean_over_its_batches():
    watcher = watched("accumulation", 1)
    run = CASES["accumulation"].make(0)
    batches = [batch for batch, _ in zip(run.loader, range(4), strict=False)]
    with torch.no_grad():
        expected = torch.stack([run.module.training_step(batch, 0) for batch in batches]).mean()
    assert watcher.seen[0][1] == pytest.approx(float(expected), rel=1e-5)
    assert watcher.batches == [1]
    assert watcher.parts == [""]


def test_each_optimizer_of_a_gan_is_handed_over_with_its_own_loss():
    watcher = watched("gan", 4)
    (_, ours, _, first), (_, theirs, _, second), (_, _, _, third), _ = watcher.seen
    assert first is third is not second
    assert ours != theirs
    assert watcher.parts == ["discriminator.", "generator."] * 2
    assert watcher.batches == [2, 4]


def test_the_test_loss_leaves_each_module_in_its_mode():
    run = CASES["batch_norm_in_eval_mode"].make(0)
    run.module.recipe.at_start(run.module.net)
    modes = [module.training for module in run.module.modules()]
    assert Plain(run).test_loss() == pytest.approx(2.3, abs=0.3)  # ten classes, nothing learned
    assert [module.training for module in run.module.modules()] == modes
    assert Plain(CASES["gan"].make(0)).test_loss() is None
    with pytest.raises(AttributeError), modes_kept(run.module):
        run.module.eval().no_such_layer()
    assert [module.training for module in run.module.modules()] == modes


def test_groups_by_layer_keep_settings_and_make_the_same_steps():
    def trained(change):
        run = CASES["momentum_layer_at_100_times"].make(0)
        run.settings["max_steps"] = 5
        make = run.module.recipe.optimizer
        run.module.recipe = replace(run.module.recipe, optimizer=lambda net: change(make(net), net))
        fit(run, [])
        return run.module, run.module.optimizers().optimizer

    plain, _ = trained(lambda optimizer, net: optimizer)
    split, optimizer = trained(lambda optimizer, net: by_layer(optimizer, net, "net."))
    assert [(group["name"], group["lr"]) for group in optimizer.param_groups] == [
        ("net.0", 0.05), ("net.4", 0.05), ("net.2", 5.0)
    ]  # fmt: skip
    for ours, theirs in zip(split.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_phrases_of_each_tool_are_those_of_the_suite_without_the_tool():
    assert list(peers.TOOLS) == [
        "thermo-callbacks", "torchmortem", "training-doctor", "thermoclaw", "traintools", "torchdiag",
        "DLCheck",
    ]  # fmt: skip
    for module in peers.MODULES[1:]:
        assert all(module.TOOL.causes(phrase) <= CAUSES.keys() for phrase in module.PHRASES)


@pytest.fixture
def made_up(monkeypatch):
    """A tool that says of each run that it diverges, in place of all others."""
    tool = Tool("made-up", "made_up", Plain, causes)
    monkeypatch.setattr(peers, "TOOLS", {"made-up": tool})
    monkeypatch.setattr(peers, "installed", lambda tool: tool.name == "made-up")
    return tool


def test_the_tables_can_be_read_again_from_the_file(made_up, tmp_path, capsys):
    peers.main(["--cases", "rate_to_nan", "still_learning", "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    assert re.search(r"made-up +tuning +\d of \d +\d of \d", printed)
    assert "rate too high" in printed
    kept = json.loads((tmp_path / "peers_made-up.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in kept] == ["rate_to_nan", "still_learning"]
    assert kept[0]["said"][0]["step"] == 300
    peers.main(["--from", str(tmp_path / "peers_made-up.json")])
    assert capsys.readouterr().out == printed


def test_a_tool_that_fails_is_told_and_keeps_what_it_said(made_up, monkeypatch):
    class Failing(Plain):
        def after_step(self, module, optimizer):
            raise RuntimeError("no such thing")

    found = peers.examine(made_up._replace(watch=Failing), CASES["rate_to_nan"], 0)
    assert found.error == "RuntimeError: no such thing"
    assert found.alarms == [Said("diverges", step=1)]


def test_a_tool_that_is_not_installed_is_skipped(monkeypatch, capsys):
    monkeypatch.setattr(peers, "TOOLS", {"made-up": Tool("made-up", "made_up_and_not_there", Plain, causes)})
    peers.main(["--cases", "sgd"])
    assert capsys.readouterr().out == "made-up is not installed: skipped\n"
