"""The page in a real browser, opened from its file."""

from __future__ import annotations

import datetime
import json

import pytest
from browser import open_browser

from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.page import render_page
from thermo_callbacks.commands.report.series import Series

pytestmark = pytest.mark.slow

_SIZES = """
return Array.from(document.querySelectorAll(arguments[0])).map(each => {
  const box = each.getBoundingClientRect();
  return [box.width, box.height];
});
"""
_LENGTHS = """
return Array.from(document.querySelectorAll('figure.chart')).map(figure =>
  Math.max(...Array.from(figure.querySelectorAll('g.line path')).map(path => path.getTotalLength()
    || path.getAttribute('d').length)));
"""


@pytest.fixture(scope="module")
def browser(logs, tmp_path_factory):
    target = tmp_path_factory.mktemp("page") / "report.html"
    target.write_text(render_page(find_runs([logs.root]), datetime.datetime(2026, 1, 2)), encoding="utf-8")
    with open_browser(1280, 900) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        driver.get(target.as_uri())
        yield driver


def test_nothing_is_asked_of_the_network_and_nothing_is_complained_of(browser):
    names = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    assert browser.get_log("browser") == []


def folded(browser):
    return browser.execute_script("return document.querySelectorAll('details.fold:not([open])').length")


def toggle(browser):
    browser.find_element("css selector", ".all button").click()


def test_all_but_the_first_screen_is_folded_and_a_button_opens_it(browser):
    height = "return document.documentElement.scrollHeight"
    folds = folded(browser)
    assert folds > 12
    before = browser.execute_script(height)
    assert before < 2000
    toggle(browser)
    assert folded(browser) == 0
    assert browser.execute_script(height) > 5 * before
    toggle(browser)
    assert folded(browser) == folds


def test_a_link_opens_the_fold_that_it_leads_into(browser):
    link = browser.find_element("css selector", ".key-charts figcaption a")
    target = link.get_attribute("href").partition("#")[2]
    for _ in range(2):  # the second time the address stays as it is
        link.click()
        entry = browser.find_element("id", target)
        assert entry.is_displayed()
        assert -1 <= browser.execute_script("return arguments[0].getBoundingClientRect().top", entry) < 900
        browser.execute_script("document.querySelectorAll('details.fold').forEach(each => { each.open = false; })")


def test_a_finding_and_its_charts_have_room_on_the_first_screen(logs, tmp_path):
    (run,) = find_runs([logs.both])
    for name in ("net.1", "net.3"):
        dead = run.scalars[f"thermo_dead_fraction/{name}"] = Series()
        for step in (8, 16):
            dead.add(step, 1.0, 0.0)
    target = tmp_path / "report.html"
    target.write_text(render_page([run], datetime.datetime(2026, 1, 2)), encoding="utf-8")
    with open_browser(1280, 900) as driver:
        # of the window the browser takes a part for itself
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(target.as_uri())
        assert len(driver.find_elements("css selector", ".finding")) >= 1
        bottoms = driver.execute_script(
            "return Array.from(document.querySelectorAll('.verdict, .key-charts figure')).map(each =>"
            " each.getBoundingClientRect().bottom)"
        )
        assert len(bottoms) >= 4
        assert max(bottoms) < 900
        assert folded(driver) > 8


def test_every_chart_and_figure_is_drawn(browser):
    toggle(browser)
    sizes = browser.execute_script(_SIZES, "figure.chart > svg")
    assert len(sizes) > 40
    assert all(width > 250 and height > 120 for width, height in sizes)
    assert all(length > 0 for length in browser.execute_script(_LENGTHS))
    pictures = browser.execute_script(
        "return Array.from(document.images).map(image => [image.complete, image.naturalWidth, image.width])"
    )
    assert len(pictures) >= 12
    assert all(complete and natural > 100 and width > 100 for complete, natural, width in pictures)
    toggle(browser)


def test_the_page_is_no_wider_than_the_window(browser):
    for width in (1280, 420):
        browser.set_window_size(width, 900)
        for _ in range(2):  # folded and not
            assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
            toggle(browser)
    browser.set_window_size(1280, 900)


def test_the_pointer_shows_step_and_values(browser):
    from selenium.webdriver import ActionChains

    figure = browser.find_element("css selector", "figure.chart")
    data = json.loads(figure.find_element("css selector", "script").get_attribute("textContent"))
    svg = figure.find_element("css selector", "svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", svg)
    ActionChains(browser).move_to_element(svg).perform()
    box = browser.find_element("id", "pointer")
    assert box.is_displayed()
    first, *values = box.text.split("\n")
    assert int(first.removeprefix("step ").replace(",", "")) in {step for steps in data["steps"] for step in steps}
    assert {value.split("  ")[0].strip() for value in values} == {line["name"] for line in data["lines"]}
    ActionChains(browser).move_to_element(browser.find_element("css selector", "h1")).perform()
    assert not box.is_displayed()


def test_both_modes_have_their_colours(browser):
    found = {}
    for mode in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": mode}]}
        )
        found[mode] = browser.execute_script(
            "const line = getComputedStyle(document.querySelector('g.line'));"
            "return [getComputedStyle(document.body).backgroundColor, line.stroke]"
        )
    assert found["light"][0] != found["dark"][0]
    assert found["light"][1] != found["dark"][1]


_ATTACK = "<img src=x onerror=window.hit=1><script>window.hit=1</script>\"'</script><!--"


def test_script_in_tags_names_and_settings_is_shown_and_never_run(tmp_path):
    import yaml
    from commands.report.odd_logs import TensorProto, scalar, tensor_event, write_events

    name = _ATTACK.replace("/", "\u2215")  # as a name of a folder
    folder = tmp_path / name / "run"
    attacks = [scalar(f"{family}{_ATTACK}", step, 1.0 + step) for family in ("", "thermo_heat/") for step in range(3)]
    note = tensor_event(
        "text", TensorProto(dtype=7, string_val=[f"# {_ATTACK}\n[x](javascript:window.hit=1)".encode()]), "thermo/note"
    )
    write_events(folder, *attacks, note)
    (folder / "hparams.yaml").write_text(yaml.safe_dump({_ATTACK: _ATTACK}))
    (folder / "thermo_run_configuration.json").write_text(json.dumps({_ATTACK: _ATTACK}))
    target = tmp_path / "report.html"
    target.write_text(render_page(find_runs([tmp_path]), datetime.datetime(2026, 1, 2)), encoding="utf-8")
    with open_browser(1280, 900) as driver:
        driver.get(target.as_uri())
        assert driver.execute_script("return window.hit") is None
        assert driver.execute_script("return document.querySelectorAll('[onerror], a[href^=javascript]').length") == 0
        toggle(driver)
        assert driver.execute_script("return document.body.innerText.split('onerror=window.hit=1').length") > 5
        assert driver.get_log("browser") == []
