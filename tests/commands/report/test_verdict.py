"""The first panel: findings of each run with evidence, action and links, or one line that says there are none."""

from __future__ import annotations

import pytest
from commands.report.test_page import NOW, Page
from commands.report.test_runs import run_with

from thermo_callbacks.commands.report.anchors import entry_of, quantity_of
from thermo_callbacks.commands.report.findings import Diagnosis
from thermo_callbacks.commands.report.page import render_page
from thermo_callbacks.commands.report.verdict import causes_of, untrained_of, verdicts_of
from thermo_callbacks.display.text.configuration import configuration_text
from thermo_callbacks.findings import CAUSES, Finding

DEAD = {step: {"thermo_dead_fraction/net.1": 1.0, "thermo_dead_fraction/net.3": 0.2} for step in (9, 19)}
ALIVE = {step: {"thermo_dead_fraction/net.1": 0.1} for step in (9, 19)}


def page_of(*runs):
    page = Page(render_page(runs, NOW))
    assert page.faults == []
    return page


def inside(page, tag, element):
    return [each for each in page.all(tag) if element in each.inside]


def test_a_finding_stands_first_with_place_evidence_action_and_links_to_what_explains_it():
    page = page_of(run_with(DEAD))
    first = page.all("section")[0]
    assert first.attributes["id"] == "verdict"
    text = " ".join(first.text.split())
    assert "critical dead units in net.1 since step 9" in text
    terms = [each.text for each in inside(page, "dt", first)]
    told = dict(zip(terms, [each.text for each in inside(page, "dd", first)], strict=True))
    assert list(told) == ["Seen", "Evidence", "Do"]
    assert told["Evidence"] == "dead fraction of net.1 = 1"
    assert told["Do"].startswith("Look at the initialisation")
    links = [link.attributes["href"] for link in inside(page, "a", first)]
    assert links == ["#cause-dead-units", "#quantity-dead-fraction"]
    ids = {element.attributes.get("id"): element for element in page.elements}
    assert CAUSES["dead units"].mistaken in ids["cause-dead-units"].text
    assert "Dead fraction" in ids["quantity-dead-fraction"].text


def test_nothing_found_is_one_line():
    page = page_of(run_with(ALIVE))
    first = page.all("section")[0]
    assert " ".join(first.text.split()).startswith("Verdict Nothing found up to step 19")
    assert len(inside(page, "p", first)) == 1
    assert not page.all("section", id="causes")


def test_logs_without_anything_to_judge_by_get_no_tick():
    page = page_of(run_with({9: {"thermo/bulk_entropy": 1.0}}))
    assert not page.all("p", class_="good")
    assert "so nothing can be said." in page.all("section")[0].text
    assert page_of(run_with(ALIVE)).all("p", class_="good")


def test_runs_with_findings_come_before_those_without():
    page = page_of(run_with(ALIVE, "quiet"), run_with(DEAD, "loud"))
    names = [heading.text for heading in inside(page, "h3", page.all("section")[0])]
    assert names == ["loud", "quiet"]


FINDING = Finding(
    "dead units", tuple("abcde"), "warning", 0.9987, {"thermo/nowhere": 2.5}, 1200, "Seen.", "Do.", ("dead units",)
)


def test_what_has_no_entry_is_no_link_and_what_is_not_sure_says_so():
    (card,) = verdicts_of([run_with(ALIVE)], [Diagnosis([FINDING], 1, 19)], {"quantity-dead-fraction"})
    (finding,) = card.findings
    (evidence,) = finding.evidence
    assert (evidence.words, evidence.value, evidence.entry) == ("nowhere", "2.5", "")
    assert finding.sure == ", confidence 99.87 %"
    assert finding.consequences == [("dead units", "cause-dead-units")]


def test_causes_are_explained_once():
    both = [Diagnosis([FINDING], 1, 19), Diagnosis([FINDING], 1, 19)]
    assert causes_of(both) == [("cause-dead-units", CAUSES["dead units"])]
    assert causes_of([Diagnosis([], 1, 19)]) == []


def with_untrained(reasons, name="run"):
    run = run_with({9: {"thermo/untrained_share": 0.25, "thermo/temperature": 1.0}}, name)
    run.texts["thermo/run_configuration"] = configuration_text({"untrained_layers": reasons})
    return run


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["a"], "Not trained, 25 % of the weights: a (frozen)."),
        (list("abcde"), "Not trained, 25 % of the weights: a (frozen), b (frozen), c (frozen) and 2 more."),
        ([], ""),
    ],
)
def test_layers_that_are_not_trained_are_named_beside_the_verdict(layers, said):
    run = with_untrained(dict.fromkeys(layers, "frozen"))
    (card,) = verdicts_of([run], [Diagnosis([], 1, 9)], ())
    assert card.untrained == said
    about = Finding("layer not trained", tuple(layers), "info", 1.0, {"thermo/untrained_share": 0.25}, 0, "", "")
    (card,) = verdicts_of([run], [Diagnosis([about], 1, 9)], ())
    assert card.untrained == ""  # it is said already
    assert len(page_of(run).all("section", id="untrained")) == bool(layers)


def test_all_layers_that_some_run_does_not_train_are_listed_with_the_reasons_of_each():
    runs = [with_untrained({"a": "frozen"}, "one"), with_untrained({"b": "in no optimizer"}, "two")]
    assert untrained_of(runs) == [("a", ["frozen", ""]), ("b", ["", "in no optimizer"])]
    page = page_of(*runs)
    (section,) = page.all("section", id="untrained")
    assert [each.text for each in inside(page, "td", section)] == [
        "frozen",
        "trained, or not there",
        "trained, or not there",
        "in no optimizer",
    ]


@pytest.mark.parametrize("odd", [{"untrained_layers": 3}, {"untrained_layers": ["a"]}, {}])
def test_a_configuration_that_lists_none_is_no_error(odd):
    run = run_with(ALIVE)
    run.texts["thermo/run_configuration"] = configuration_text(odd)
    assert untrained_of([run]) == []


def test_quantities_are_found_by_tag_by_family_and_by_member():
    assert quantity_of("thermo_heat/net.0") is quantity_of("thermo_heat") is quantity_of("thermo/heat")
    assert entry_of(quantity_of("thermo/temperature_stderr")) == "quantity-error-of-t"
    assert quantity_of("val_loss") is None
