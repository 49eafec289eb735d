"""ledger, ledger export and replay, run as users run them: in a process of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelrouter import Ledger
from tests.cli.test_cli import lines, run
from tests.ledger.conftest import LARGE, SMALL, router_with


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "tasks.ledger"
    with Ledger(path, text="keep") as ledger:
        router = router_with(ledger, lambda r: "ok", LARGE, SMALL, policy="best")
        for n in range(12):
            reply = router.completion(f"What is the capital of country {n}?", tags={"user": "ann"})
            router.feedback(reply, n % 2)
    return path


def test_the_summary_is_a_table_and_json(path: Path) -> None:
    done = run("ledger", "--ledger", str(path))
    assert done.returncode == 0, done.stderr
    assert "acme/large" in done.stdout
    (group,) = lines(run("ledger", "-l", str(path), "--by", "tag:user", "--json").stdout)
    assert (group["name"], group["tasks"], group["score"]) == ("ann", 12, 0.5)
    last = lines(run("ledger", "--json", "--last", "5", MODELROUTER_LEDGER=str(path)).stdout)
    assert sum(group["tasks"] for group in last) == 5


def test_the_calls_themselves_can_be_listed(path: Path) -> None:
    done = run("ledger", "-l", str(path), "--rows", "--last", "3", "--json")
    assert len(lines(done.stdout)) == 3
    assert "answered" in run("ledger", "-l", str(path), "--rows").stdout


def test_an_export_is_written_or_printed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    done = run("ledger", "-l", str(path), "export", "--jsonl", str(target))
    assert done.returncode == 0, done.stderr
    assert len(target.read_text("utf-8").splitlines()) == 12
    printed = run("ledger", "export", "-l", str(path), "--jsonl", "-", "--last", "2")
    assert [row["outcome"] for row in lines(printed.stdout)] == ["answered"] * 2
    assert run("ledger", "export", "-l", str(path)).returncode == 2


def test_a_replay_says_what_would_change(path: Path) -> None:
    done = run("replay", "--policy", "cheapest", "--ledger", str(path))
    assert done.returncode == 0, done.stderr
    assert "12 of 12 calls decided again under 'cheapest'." in done.stdout
    (found,) = lines(run("replay", "-p", "cheapest", "-l", str(path), "--json").stdout)
    assert found["cost_usd"]["after"] < found["cost_usd"]["before"]


def test_a_missing_ledger_is_not_made(tmp_path: Path) -> None:
    for command in (("ledger",), ("replay",), ("ledger", "export", "--jsonl", "-")):
        done = run(*command, "--ledger", str(tmp_path / "none.ledger"))
        assert done.returncode == 2
        assert "There is no ledger" in done.stderr
    assert not (tmp_path / "none.ledger").exists()


def test_fit_learns_from_a_ledger_with_feedback(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "ours.scorer"
    done = run("fit", "--ledger", str(path), "-o", str(target))
    assert done.returncode == 2  # 12 rows are too few, and it says so
    assert "has 12 rows, 30 are needed" in done.stderr.replace("\n", " ")
    rows = tmp_path / "more.jsonl"
    answers = [
        {"task": f"What is {n} + {n * 7 % 13}?", "model": "acme/large", "score": n % 3 > 0}
        for n in range(40)
    ]
    rows.write_text("\n".join(map(json.dumps, answers)), encoding="utf-8")
    done = run("fit", str(rows), "--ledger", str(path), "-o", str(target))
    assert done.returncode == 0, done.stderr
    assert "52 rows" in done.stdout
    assert run("fit").returncode == 2
