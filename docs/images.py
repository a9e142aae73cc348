"""The pictures of the documentation, made anew from real runs: ``python docs/images.py [NAME ...]``.

Trains what they show, the demo with three optimizers and one planted fault of ``tests/faults`` beside its healthy twin,
and opens TensorBoard and the report in Chromium without a window. ``comparison.png`` is the figure that the command in
``docs/guides/activations.md`` writes, which takes minutes: it is not made here.
"""

from __future__ import annotations

import argparse
import io
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import open_browser, serve_tensorboard, wait_for  # noqa: E402  found by the path above
from faults import CASES  # noqa: E402
from faults.record import fit  # noqa: E402

from thermo_callbacks import ThermoMonitor  # noqa: E402

FAULT = "dead_relus"
"""The planted fault of the first screen; its healthy twin is the same network without the bias of -20."""
SEED = 0
BEHIND_THE_FINDING = ("Loss, mean of each window", "Dead units by activation", "Update ratio by layer")
"""How the captions of the three charts begin, in the row that the first screen shows."""
SHARPER = 2
"""Pixels for each point of the page, in the picture that readers look into first."""
SMALLER = 0.75
"""The same of a page with much on it."""
COLOURS = 256

_ONLY_THESE = """
const wanted = arguments[0], last = arguments[1];
for (const fold of document.querySelectorAll('details')) fold.open = true;
const all = [...document.querySelectorAll('figure.chart')];
const caption = figure => figure.querySelector('.caption').textContent;
// of layers, the chart of the faulty run
const chosen = wanted.map(start => all.find(figure => caption(figure).startsWith(start)
  && (!caption(figure).includes('by ') || caption(figure).endsWith(last))));
for (const button of document.querySelectorAll('figure button, figure .download')) button.remove();
const row = document.createElement('div');
row.id = 'row';
row.style = 'display:grid;grid-template-columns:repeat(3,1fr);gap:12px;padding:12px';
row.append(...chosen);
document.body.replaceChildren(row);
return chosen.map(caption);
"""


def train_fault(folder: Path) -> None:
    """Train the planted fault and its twin, each with the monitor's defaults."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    case = CASES[FAULT]
    for name, made in (("healthy", CASES[str(case.healthy_twin)]), ("faulty", case)):
        monitor = ThermoMonitor()
        fit(made.make(SEED), [monitor], TensorBoardLogger(folder, name="", version=name))


def train_demo(folder: Path) -> None:
    """Run the demo with three optimizers, each in a folder of its name."""
    for optimizer in ("adam", "sgd", "momentum"):
        command = [sys.executable, "-m", "thermo_callbacks.commands.cli", "demo", "--optimizer", optimizer]
        subprocess.run([*command, "--logdir", str(folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        parent = folder / ("one" if optimizer == "adam" else "two")
        parent.mkdir(exist_ok=True)
        (folder / "demo" / "version_0").rename(parent / optimizer)


def write_report(folder: Path) -> str:
    """Address of the report on the fault and its twin."""
    page = folder / "report.html"
    command = [sys.executable, "-m", "thermo_callbacks.commands.cli", "report"]
    runs = [str(folder / "fault" / name) for name in ("healthy", "faulty")]
    subprocess.run([*command, *runs, "--out", str(page)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return page.as_uri()


@contextmanager
def opened(address: str, width: int, height: int, scale: float = 1.0) -> Iterator[Any]:
    """A page in a browser of this size."""
    with open_browser(width, height) as browser:
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(address)
        yield browser


def keep(name: str, picture: bytes) -> None:
    """Write a picture with few colours: pages have no more, and files stay small."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS).save(IMAGES / name, optimize=True)


def first_screen(folder: Path) -> None:
    """The three charts behind the finding, as the report draws them."""
    with opened(write_report(folder), 1200, 600, SHARPER) as browser:
        captions = browser.execute_script(_ONLY_THESE, BEHIND_THE_FINDING, "faulty")
        assert len(captions) == len(BEHIND_THE_FINDING)
        keep("finding.png", browser.find_element("id", "row").screenshot_as_png)


def report(folder: Path) -> None:
    """The first screen of the report."""
    with opened(write_report(folder), 1200, 960) as browser:
        keep("report.png", browser.get_screenshot_as_png())


def tensorboard_tab(name: str, logs: str, tab: str, height: int, scale: float = 1.0) -> Callable[[Path], None]:
    """What makes the picture of a tab of TensorBoard."""

    def make(folder: Path) -> None:
        width, tall = round(1400 / scale), round(height / scale)
        with (
            chdir(folder),  # the page shows the folder as it was given
            serve_tensorboard(logs) as address,
            opened(f"{address}/#{tab}", width, tall, scale) as browser,
        ):
            settled(browser)
            keep(name, browser.get_screenshot_as_png())

    return make


def settled(browser: Any) -> None:
    """Wait until a page looks the same for some seconds: lines and images come one after the other."""
    seen: list[bytes] = []

    def still() -> bool:
        seen.append(browser.get_screenshot_as_png())
        return len(seen) > 5 and len(set(seen[-4:])) == 1

    time.sleep(4.0)
    wait_for(still, patience=60.0, pause=1.0)


PICTURES: dict[str, Callable[[Path], None]] = {
    "finding": first_screen,
    "report": report,
    "custom_scalars": tensorboard_tab("custom_scalars.png", "demo/one", "custom_scalars", 1532, SMALLER),
    "two_runs": tensorboard_tab("two_runs.png", "demo/two", "custom_scalars", 1532, SMALLER),
    "images": tensorboard_tab("images.png", "demo/one", "images", 830),
    "text": tensorboard_tab("text.png", "fault", "text", 900),
    "hparams": tensorboard_tab("hparams.png", "demo/two", "hparams", 250, SMALLER),
}
OF_THE_FAULT = {"finding", "report", "text"}


def main() -> None:
    """Train what is needed, and make the pictures that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"pictures to make: {', '.join(PICTURES)}; else all")
    names = parser.parse_args().names or list(PICTURES)
    if unknown := set(names) - PICTURES.keys():
        parser.error(f"no picture has the name {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="pictures-") as made:
        folder = Path(made)
        if OF_THE_FAULT.intersection(names):
            train_fault(folder / "fault")
        if not OF_THE_FAULT.issuperset(names):
            train_demo(folder / "demo")
        for name in names:
            PICTURES[name](folder)


if __name__ == "__main__":
    main()
