"""Plots: real PNG files, and words where matplotlib or the folder is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelrouter import ConfigurationError
from modelrouter.evaluation import Outcomes, Report, measure

PNG = b"\x89PNG\r\n\x1a\n"


def report(*, models: int = 2, prices: bool = True) -> Report:
    rng = np.random.default_rng(0)
    truth = np.clip(rng.random((60, 1)) * 0.6 + np.linspace(0, 0.4, models), 0, 1)
    given = Outcomes(
        models=tuple(f"m{i}" for i in range(models)),
        scores=(rng.random(truth.shape) < truth).astype(float),
        predicted=truth,
        costs=np.tile(np.arange(1.0, models + 1), (60, 1)) if prices else None,
        lengths=np.arange(60.0),
    )
    return measure(given, resamples=10)


@pytest.mark.parametrize(("models", "prices"), [(2, True), (2, False), (4, True), (4, False)])
def test_a_png_is_written(tmp_path: Path, models: int, prices: bool) -> None:
    path = report(models=models, prices=prices).plot(tmp_path / "out.png")
    data = path.read_bytes()
    assert data.startswith(PNG)
    width = int.from_bytes(data[16:20], "big")
    assert width > 1_000


def test_a_figure_for_a_notebook() -> None:
    from modelrouter.evaluation.plots import draw

    figure = draw(report(models=3))
    assert figure.axes[0].get_title() == "m0 or m2"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Cannot write the plot"):
        report().plot(tmp_path / "none" / "out.png")
    with pytest.raises(ConfigurationError, match="Cannot write the plot"):
        report().plot(tmp_path / "out.docx")


def test_without_matplotlib_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from modelrouter import MissingDependencyError\n"
        "from modelrouter.evaluation.plots import draw\n"
        "try:\n    draw(None)\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'modelrouter[plots]'" in done.stdout
