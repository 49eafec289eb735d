"""Sums over a ledger, exports, and what is learned from feedback."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest

from modelrouter import ConfigurationError, InvalidExamplesError, Ledger, ServerError, StorageError
from modelrouter.scoring import LearnedScorer
from tests.ledger.conftest import LARGE, SMALL, router_with

TASK = "Prove that the square root of 2 is irrational."


@pytest.fixture
def filled(ledger):
    router = router_with(ledger, lambda r: "an answer of five words", LARGE, SMALL)
    for n in range(6):
        user = "ann" if n % 3 else "bob"
        reply = router.completion(f"{TASK} {n}", policy="best", tags={"user": user})
    router.feedback(reply, 0.5)
    router.completion("Translate into French: Good morning.", model="acme/small")

    def fail(request):
        raise ServerError("down", status=500)

    from modelrouter import RetryPolicy

    once = RetryPolicy(max_attempts=1)
    with pytest.raises(ServerError):
        router_with(ledger, fail, SMALL, retry=once).completion(TASK, model="acme/small")
    return ledger


def test_groups_add_up_to_the_rows(filled):
    rows = list(filled.rows())
    for by in ("model", "kind", "day", "outcome", "policy", "location", "tag:user"):
        groups = filled.summary(by)
        assert sum(g.tasks for g in groups) == len(rows) == 8
        assert sum(g.cost_pico for g in groups) == sum(r.cost_pico for r in rows)
        assert sum(g.completion_tokens for g in groups) == 35


def test_a_group_knows_its_outcomes_times_and_score(filled):
    large, small = filled.summary("model")
    assert (large.name, large.tasks, large.score) == ("acme/large", 6, 0.5)
    assert 0 < large.latency_s(0.5) <= large.latency_s(0.95)
    assert (small.outcomes["answered"], small.outcomes["failed"]) == (1, 1)
    assert small.score is None
    users = {g.name: g.tasks for g in filled.summary("tag:user")}
    assert users == {"ann": 4, "bob": 2, "": 2}
    assert [g.name for g in filled.summary("day")] == [time.strftime("%Y-%m-%d")]
    assert filled.summary("model", last=1)[0].outcomes["failed"] == 1
    with pytest.raises(ConfigurationError, match=r"by='colour'.*tag:NAME"):
        filled.summary("colour")


def test_jsonl_holds_every_row(filled, tmp_path):
    assert filled.export(tmp_path / "out.jsonl") == 8
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    rows = list(filled.rows())
    assert [json.loads(line)["id"] for line in lines] == [row.id for row in rows]
    first = json.loads(lines[0])
    assert first["cost_pico"] == rows[0].cost_pico
    assert first["decision"]["model"] == "acme/large"
    assert first["attempts"][0]["usage"]["completion_tokens"] == 5


def test_parquet_holds_every_row(filled, tmp_path):
    from pyarrow import parquet

    assert filled.export(tmp_path / "out.parquet") == 8
    table = parquet.read_table(tmp_path / "out.parquet")
    rows = list(filled.rows())
    assert table.column("id").to_pylist() == [row.id for row in rows]
    assert sum(table.column("cost_pico").to_pylist()) == sum(row.cost_pico for row in rows)
    assert json.loads(table.column("decision")[0].as_py())["model"] == "acme/large"
    assert table.column("score").null_count == 7


def test_parquet_without_pyarrow_names_the_command(filled, tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"  # as if it were not installed
        "from modelrouter import Ledger, MissingDependencyError\n"
        "try: Ledger(sys.argv[1]).export(sys.argv[2])\n"
        "except MissingDependencyError as error: print(error)"
    )
    target = str(tmp_path / "out.parquet")
    done = subprocess.run(
        [sys.executable, "-c", code, str(filled.path), target], capture_output=True, text=True
    )
    assert "pip install 'modelrouter[parquet]'" in done.stdout, done.stderr


def test_an_export_that_cannot_be_written_says_so(filled, tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        filled.export(tmp_path / "nowhere" / "out.jsonl")


def test_a_scorer_learns_from_feedback(path):
    rng = random.Random(1)
    with Ledger(path, text="keep") as ledger:
        router = router_with(ledger, lambda r: "ok", SMALL)
        for _ in range(80):
            terms = [rng.randint(1, 99) for _ in range(rng.randint(2, 12))]
            reply = router.completion("What is " + " + ".join(map(str, terms)) + "?")
            router.feedback(reply, float(rng.random() < 1.3 - 0.12 * len(terms)))
        scorer = LearnedScorer.fit(ledger)
        assert len(ledger.examples()) == 80
    assert scorer.models[-1] == "acme/small" or "acme/small" in scorer.models
    assert scorer.about["rows"] == 80


def test_a_ledger_without_feedback_teaches_nothing(ledger):
    router_with(ledger).completion(TASK)
    with pytest.raises(InvalidExamplesError, match="no examples"):
        LearnedScorer.fit(ledger)
