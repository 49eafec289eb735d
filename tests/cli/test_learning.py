"""fit and eval, run as users run them: in a process of their own."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.cli.test_cli import lines, run


def write_rows(path: Path, tasks: int, seed: int) -> Path:
    """Sums that grow harder; the small model fails on the long ones."""
    rng = random.Random(seed)
    rows = []
    for _ in range(tasks):
        terms = [rng.randint(1, 99) for _ in range(rng.randint(2, 12))]
        small = float(rng.random() < 1.3 - 0.12 * len(terms))
        large = float(rng.random() < 0.97)
        text = "What is " + " + ".join(map(str, terms)) + "?"
        rows.append({"task": text, "scores": {"small": small, "large": large}})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "training.jsonl", 250, 1)
    write_rows(folder / "held_back.jsonl", 250, 2)
    done = run("fit", str(folder / "training.jsonl"), "-o", str(folder / "ours.scorer"))
    assert done.returncode == 0, done.stderr
    assert "500 rows, 250 tasks" in done.stdout
    assert "small" in done.stdout
    return folder


PRICES = ("--price", "small=0.2/0.6", "--price", "large=2.5/10")


def test_what_was_fitted_is_measured_on_rows_held_back(files: Path) -> None:
    plot = files / "report.png"
    done = run(
        *("eval", str(files / "held_back.jsonl"), "--scorer", str(files / "ours.scorer")),
        *(*PRICES, "--plot", str(plot), "--resamples", "100"),
    )
    assert done.returncode == 0, done.stderr
    assert "It beats a random router" in done.stdout
    assert "It beats always using the best single model" in done.stdout
    assert "CPT(80%)" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert str(plot) in done.stderr.replace("\n", "")


def test_json_is_one_object_and_the_same_rows_are_named(files: Path) -> None:
    done = run(
        *("eval", str(files / "training.jsonl"), "--scorer", str(files / "ours.scorer")),
        *("--json", "--resamples", "20"),
    )
    (report,) = lines(done.stdout)
    assert report["pair"]["router"]["apgr"]["value"] > 0.5
    assert report["prices"]["unit"] == "strong calls"
    assert any("fitted on these very rows" in warning for warning in report["warnings"])


def test_the_shipped_scorer_is_measured_where_none_is_named(files: Path) -> None:
    done = run(
        *("eval", str(files / "held_back.jsonl"), "--json", "--resamples", "20"),
        *("--rename", "small=mistralai/mistral-7b", "--pair", "mistralai/mistral-7b,large"),
    )
    assert done.returncode == 0, done.stderr
    (report,) = lines(done.stdout)
    assert report["scorer"] == "LearnedScorer"
    assert report["pair"]["weak"] == "mistralai/mistral-7b"


def test_models_without_a_card_of_their_name_are_told(files: Path, tmp_path: Path) -> None:
    rename = ("--rename", "large=gpt-4o")
    done = run("fit", str(files / "training.jsonl"), "-o", str(tmp_path / "x.scorer"), *rename)
    assert "openai/gpt-4o" in done.stdout
    assert "No known card is called small:" in done.stderr.replace("\n", " ")


def test_fit_says_what_it_learned_as_json(files: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.scorer"
    done = run("fit", str(files / "training.jsonl"), "-o", str(target), "--json")
    (about,) = lines(done.stdout)
    assert about["output"] == str(target)
    assert set(about["held_out"]) == {"small", "large"}
    assert target.stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", "missing.jsonl"], "missing.jsonl"),
        (["fit", "{bad}"], "row 2, score: 7 is out of range"),
        (["fit", "{few}"], "30 are needed to learn from"),
        (["fit", "{data}", "-o", "/nowhere/at/all.scorer"], "there is no folder"),
        (["eval", "{bad}"], "row 2, score: 7 is out of range"),
        (["eval", "{few}"], "2 of 2 tasks have a score of every model"),
        (["eval", "{data}", "--scorer", "{data}"], "training.jsonl"),
        (["eval", "{data}", "--scorer", "missing.scorer"], "missing.scorer"),
        (["eval", "{data}", "--price", "small"], "As small=0.2/0.6"),
        (["eval", "{data}", "--price", "small=cheap"], "USD for a million tokens"),
        (["eval", "{data}", "--rename", "small"], "As weak=acme/small"),
        (["eval", "{data}", "--pair", "small"], "As small,large"),
        (["eval", "{data}", "--pair", "small,huge", "--resamples", "0"], "They have small, large"),
        (["eval", "{data}", "--plot", "/nowhere/at/all.png"], "there is no folder"),
    ],
)
def test_input_that_makes_no_sense_exits_2_with_one_line(
    files: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    good = '{"task": "a", "model": "small", "score": 1}\n{"task": "a", "model": "large", "score": '
    (tmp_path / "bad.jsonl").write_text(good + "7}")
    few = good + '1}\n{"task": "b", "scores": {"small": 0, "large": 1}}'
    (tmp_path / "few.jsonl").write_text(few)
    places = {
        "bad": tmp_path / "bad.jsonl",
        "few": tmp_path / "few.jsonl",
        "data": files / "training.jsonl",
    }
    done = run(*(argument.format(**places) for argument in arguments))
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
