"""Run tests where ``pytorch_lightning`` is installed and ``lightning`` is not.

    python tests/without_lightning.py /tmp/environment [pytest arguments]

Makes the environment, if there is none in that folder yet, with all that the package and its tests need but
``lightning``. The tests are copied with their imports of ``lightning`` replaced, since they are written for that one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CHOSEN = (
    "tests/integration/test_lifecycle.py",
    "tests/integration/test_final_values.py",
    "tests/integration/test_observer_effect.py",
    "tests/integration/test_resume.py",
    "tests/integration/test_extra_passes.py",
    "tests/integration/test_lightning_cli.py",
    "tests/integration/test_odd_optimizers.py",
    "tests/integration/test_odd_parameters.py",
    "tests/callbacks/windows",
    "tests/callbacks/output",
    "tests/comparison",
    "tests/commands/compare",
    "tests/commands/check",
    "tests/commands/test_cli.py",
)
"""Tests that are run where no others are asked for: all that touches a Trainer in another way than the others."""
NAMES = {"lightning.pytorch": "pytorch_lightning", "lightning.fabric": "lightning_fabric"}


def requirements() -> list[str]:
    """Requirements of the package and of its tests, as it was installed here, without ``lightning``."""
    found = []
    for line in metadata.requires("thermo-callbacks") or []:
        requirement = Requirement(line)
        marker, requirement.marker = requirement.marker, None
        wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("demo", "docs", "test"))
        if wanted and requirement.name not in {"lightning", "thermo-callbacks"}:
            found.append(str(requirement))
    return found


def without_lightning(text: str) -> str:
    """A test's text with the other namespace."""
    for name, other in NAMES.items():
        text = text.replace(name, other)
    return text


def prepare(environment: Path) -> Path:
    """Python of an environment without ``lightning``."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), *requirements()], check=True)
        subprocess.run([*install, "--no-deps", str(ROOT)], check=True)
    subprocess.run(
        [
            str(python),
            "-c",
            "import importlib.util as u; assert not u.find_spec('lightning'); import pytorch_lightning",
        ],
        check=True,
    )
    return python


def copy_sources(folder: Path) -> None:
    """Put the package and its tests into a folder, with the tests' imports replaced."""
    for name in ("thermo_callbacks", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, folder / name)
    for path in (folder / "tests").rglob("*.py"):
        path.write_text(without_lightning(path.read_text(encoding="utf-8")), encoding="utf-8")


def main(environment: str, *arguments: str) -> int:
    """Run the chosen tests, or those that the arguments name."""
    python = prepare(Path(environment).resolve())
    with tempfile.TemporaryDirectory() as folder:
        copy_sources(Path(folder))
        return subprocess.run([str(python), "-m", "pytest", *(arguments or CHOSEN)], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
