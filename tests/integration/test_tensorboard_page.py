"""The page of two real runs, opened in a browser: every chart draws, every image shows, every tab says something."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import open_browser, serve_tensorboard, wait_for
from integration.models import loader, quiet_trainer
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.display import custom_scalar_layout
from thermo_callbacks.display.tensorboard.hparams import FINAL_VALUES

# a window in which noise hides the mean gradient has no noise scale, for example, as the monitor says
pytestmark = pytest.mark.filterwarnings("ignore:no value \\(NaN\\)")

# every element, through the roots that hide in others
_EVERYWHERE = """
const every = function* (node) {
  for (const child of node.children) {
    yield child;
    if (child.shadowRoot) yield* every(child.shadowRoot);
    yield* every(child);
  }
};
"""
# what a chart holds to be drawn, and what it has drawn: TensorBoard's own fields, since lines are pixels of a canvas
_CHARTS = (
    _EVERYWHERE
    + """
const known = value => Number.isFinite(value);
const found = {};
for (const card of every(document)) {
  const kind = card.localName;
  if (!/^tf-custom-scalar-(multi-line|margin)-chart-card$/.test(kind)) continue;
  const series = {};
  for (const name of card._seriesNames)
    series[name] = card._nameToDataSeries[name].getData().filter(point => known(point.scalar)).map(
      point => ({value: point.scalar, smooth: point.smoothed ?? point.scalar,
        lower: point.lower ?? null, upper: point.upper ?? null}));
  const texts = [...every(card.shadowRoot)].filter(part => part.id === 'error-content' || part.className === 'error');
  const canvas = [...every(card.shadowRoot)].filter(part => ['canvas', 'svg'].includes(part.localName));
  const plot = [...every(card.shadowRoot)].find(part => part.localName === 'vz-line-chart2');
  found[card.title] = {
    kind, series, axis: plot?._chart?.yScale.domain() ?? null,
    sizes: canvas.map(part => part.getBoundingClientRect()).map(box => [box.width, box.height]),
    errors: texts.map(part => part.textContent.trim()).filter(Boolean),
  };
}
return found;
"""
)
_IMAGES = (
    _EVERYWHERE
    + """
const found = {};
for (const part of every(document)) {
  if (part.localName !== 'tf-image-loader') continue;
  const image = part.shadowRoot.querySelector('img');
  found[part.run + ' ' + part.tag] = image ? [image.naturalWidth, image.naturalHeight] : [0, 0];
}
return found;
"""
)
_TEXT = (
    _EVERYWHERE
    + """
const texts = [];
const walk = node => {
  if (node.nodeType === Node.TEXT_NODE) { texts.push(node.data); return; }
  if (['script', 'style', 'template', 'dom-module'].includes(node.localName)) return;
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
};
walk(document.body);
return texts.join(' ').replace(/\\s+/g, ' ');
"""
)
_ROWS = (
    _EVERYWHERE
    + """
const grid = [...every(document)].find(part => part.localName === 'vaadin-grid');
const text = cell => cell.querySelector('slot').assignedNodes().map(node => node.textContent.trim()).join('');
return [...(grid?.shadowRoot.querySelectorAll('#header tr, #items tr') ?? [])].filter(row => !row.hidden).map(
  row => [...row.querySelectorAll('td:not([part~=details-cell]), th')].map(text));
"""
)
_TICK_ALL = (
    _EVERYWHERE
    + "for (const part of every(document)) if (part.localName === 'paper-checkbox' && !part.checked) part.click();"
)

RUNS = {"sgd": {"rate": 0.1, "momentum": 0.0}, "momentum": {"rate": 0.03, "momentum": 0.9}}
IMAGES = ("engines", "laplacian_by_layer", "temperature_by_layer", "temperature_entropy")


class Perceptron(LightningModule):
    """Least squares by a network of rectifiers, whose settings are saved."""

    def __init__(self, rate: float, momentum: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        widths = (5, 8, 8, 8, 1)
        layers = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU())]
        self.net = nn.Sequential(*layers[:-1])

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["rate"], momentum=self.hparams["momentum"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Event files of two runs with all that there is to log."""
    folder = tmp_path_factory.mktemp("runs")
    for name, settings in RUNS.items():
        logger = TensorBoardLogger(folder, name="", version=name)
        # windows that are long enough to resolve the most curved directions
        monitor = ThermoMonitor("full", window=60, steps_between_windows=0, curvature_every_n_steps=40)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            module = Perceptron(**settings)
            quiet_trainer(logger=logger, callbacks=[monitor]).fit(module, loader(240, dtype=torch.float32))
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Any:
    """A browser, and the address of the page."""
    with open_browser(height=1800) as browser, serve_tensorboard(folder) as address:

        def show(tab: str) -> Any:
            browser.get("about:blank")  # an address that differs in what follows the # alone is not loaded anew
            browser.get(f"{address}/#{tab}")
            return browser

        yield show


def tags_of(folder: Path, kind: str = "scalars", runs: Iterable[str] = RUNS) -> set[str]:
    return {tag for run in runs for tag in EventAccumulator(str(folder / run)).Reload().Tags()[kind]}


def open_all(browser: Any) -> None:
    """Charts and images below the fold are not loaded before they are scrolled to."""
    script = _EVERYWHERE + "for (const part of every(document)) if (part.localName === arguments[0]) "
    script += "part.scrollIntoView({block: 'center'});"
    for kind in ("tf-custom-scalar-multi-line-chart-card", "tf-custom-scalar-margin-chart-card", "tf-image-loader"):
        browser.execute_script(script, kind)


def is_drawn(chart: dict[str, Any]) -> bool:
    """Whether a chart has points to draw for each run, and somewhere to draw them."""
    with_points = {name for name, points in chart["series"].items() if points}
    shown = any(width > 100 and height > 100 for width, height in chart["sizes"])
    return shown and all(any(run in re.split(r"\W", name) for name in with_points) for run in RUNS)


def is_within(curve: list[dict[str, Any]], axis: list[float]) -> bool:
    """Whether half of a curve or more is in its axis, of which TensorBoard leaves out a twentieth at either end."""
    return sum(axis[0] <= point["smooth"] <= axis[1] for point in curve) >= len(curve) / 2


def test_every_chart_draws_the_values_of_both_runs(page: Any, folder: Path) -> None:
    asked = {title for charts in custom_scalar_layout(tags_of(folder)).values() for title in charts}
    browser = page("custom_scalars")

    def drawn() -> dict[str, Any] | None:
        open_all(browser)
        charts = browser.execute_script(_CHARTS)
        return charts if asked <= charts.keys() and all(map(is_drawn, charts.values())) else None

    wait_for(drawn, patience=90.0, pause=0.5)
    charts = browser.execute_script(_CHARTS)
    assert charts.keys() == asked
    assert [title for title, chart in charts.items() if not is_drawn(chart)] == []
    assert {title: chart["errors"] for title, chart in charts.items() if chart["errors"]} == {}
    bands = {title: chart for title, chart in charts.items() if "margin" in chart["kind"]}
    assert bands.keys() == {title for title in asked if "band" in title}
    for title, chart in bands.items():
        points = [point for points in chart["series"].values() for point in points if point["lower"] is not None]
        points = [point for point in points if "NaN" not in point.values()]  # a noise scale may have no upper end
        assert points or "noise scale" in title
        assert all(point["lower"] <= point["value"] <= point["upper"] for point in points)


def test_curves_of_a_run_lie_inside_of_their_axes_and_can_be_told_apart(folder: Path) -> None:
    run = next(iter(RUNS))
    asked = {title for charts in custom_scalar_layout(tags_of(folder, runs=[run])).values() for title in charts}
    with open_browser(height=1800) as browser, serve_tensorboard(folder / run) as address:
        browser.get(f"{address}/#custom_scalars")

        def drawn() -> dict[str, Any] | None:
            open_all(browser)
            charts = browser.execute_script(_CHARTS)
            ready = asked <= charts.keys() and all(chart["axis"] and chart["series"] for chart in charts.values())
            return charts if ready and all(any(chart["series"].values()) for chart in charts.values()) else None

        charts = wait_for(drawn, patience=90.0, pause=0.5)
    assert max(len(chart["series"]) for chart in charts.values()) <= 16
    within = {
        title: [is_within(curve, chart["axis"]) for curve in chart["series"].values() if curve]
        for title, chart in charts.items()
    }
    assert {title: curves for title, curves in within.items() if sum(curves) < len(curves) / 2} == {}


def test_every_image_shows(page: Any, folder: Path) -> None:
    asked = {f"{run} thermo/{name}" for run in RUNS for name in IMAGES}
    assert tags_of(folder, "images") == {f"thermo/{name}" for name in IMAGES}
    browser = page("images")

    def shown() -> bool:
        open_all(browser)
        sizes = browser.execute_script(_IMAGES)
        return asked == sizes.keys() and all(width for width, _ in sizes.values())

    wait_for(shown, patience=90.0)
    sizes = browser.execute_script(_IMAGES)
    assert sizes.keys() == asked
    assert {image for image, (width, height) in sizes.items() if width < 700 or height < 300} == set()


def test_legend_can_be_read(page: Any) -> None:
    browser = page("text")
    wait_for(lambda: "Beware" in browser.execute_script(_TEXT))
    text = browser.execute_script(_TEXT)
    for part in ("What the numbers mean", "Temperature T", "unit: loss", "thermo_temperature/<layer>", "Beware:"):
        assert part in text
    assert "Layers in order of depth: net.0 , net.2 , net.4 , net.6" in text


def test_table_holds_hyperparameters_and_final_values_of_both_runs(page: Any, folder: Path) -> None:
    browser = page("hparams")
    metrics = [tag.removeprefix("thermo/").replace("_", " ") for tag in FINAL_VALUES]
    heads = ["momentum", "rate", "hp_metric", *metrics]

    def table() -> dict[str, list[str]]:
        browser.execute_script(_TICK_ALL)  # it begins with five metrics
        rows = [row for row in browser.execute_script(_ROWS) if row and row[0]]
        return {row[0]: row[2 : 2 + len(heads)] for row in rows}  # after a box to tick

    found: dict[str, list[str]] = {}

    def complete() -> bool:
        nonlocal found
        found = table()
        # the rows can be there before the columns that were ticked
        return found.keys() == {"Trial ID", *RUNS} and all(len(row) == len(heads) for row in found.values())

    wait_for(complete)
    assert found.keys() == {"Trial ID", *RUNS}
    assert found["Trial ID"] == heads
    for run, settings in RUNS.items():
        events = EventAccumulator(str(folder / run)).Reload()
        final = [events.Scalars(tag)[-1].value for tag in FINAL_VALUES]
        values = [settings["momentum"], settings["rate"], -1.0, *final]  # Lightning's own metric stays at -1
        assert [float(cell or "nan") for cell in found[run]] == pytest.approx(values, rel=1e-4, nan_ok=True)
