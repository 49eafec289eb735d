"""The command line, run as users run it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scripted_server import ScriptedServer, reply, status


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelrouter.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
    )


def lines(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def test_route_explains_and_exits_0():
    done = run("route", "Fix the grammar: She go to school every days.")
    assert done.returncode == 0, done.stderr
    assert "modelrouter/tiny-editor" in done.stdout
    assert "highest utility" in done.stdout


def test_route_json_is_one_object():
    done = run("route", "Fix the grammar: She go to school.", "--json")
    (decision,) = lines(done.stdout)
    assert decision["model"] == "modelrouter/tiny-editor"
    assert decision["signals"]["kind"] == "grammar"


def test_route_exits_3_when_no_model_may():
    done = run("route", "Prove that the square root of 2 is irrational.", "--json")
    assert done.returncode == 3
    (decision,) = lines(done.stdout)
    assert decision["model"] is None
    assert any("OPENAI_API_KEY" in r["fix"] for c in decision["candidates"] for r in c["reasons"])


def test_route_reads_standard_input():
    done = run("route", "-", "--json", stdin="Fix the grammar: She go to school.")
    assert lines(done.stdout)[0]["signals"]["kind"] == "grammar"


def test_route_of_a_file_goes_on_after_a_bad_line(tmp_path: Path):
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        '{"id": "a", "task": "Fix the grammar: She go home."}\n'
        "not json\n"
        '{"id": "c", "task": ""}\n'
        '{"id": "d", "messages": [{"role": "user", "content": "Fix the grammar: He go."}]}\n'
    )
    done = run("route", "--file", str(file), "--json")
    assert done.returncode == 2
    rows = lines(done.stdout)
    assert [row["id"] for row in rows] == ["a", "line 2", "c", "d"]
    assert "not JSON" in rows[1]["error"]
    assert "line 2" in done.stderr
    assert rows[3]["model"] == "modelrouter/tiny-editor"


def test_ask_answers_on_this_machine():
    done = run("ask", "Fix the grammar: He don't like coffee.", "--json")
    assert done.returncode == 0, done.stderr
    (reply_,) = lines(done.stdout)
    assert reply_["model"] == "modelrouter/tiny-editor"
    assert reply_["text"]
    assert reply_["cost_usd"] == 0


def test_ask_streams_the_same_text_that_it_gives_whole():
    task = "Fix the grammar: He don't like coffee."
    streamed, whole = run("ask", task), run("ask", task, "--no-stream")
    assert streamed.stdout == whole.stdout
    assert "modelrouter/tiny-editor" in streamed.stderr


def test_ask_reaches_a_hosted_model_when_its_key_is_set():
    with ScriptedServer() as server:
        server.script(reply("It is irrational."))
        done = run(
            "ask",
            "Prove that the square root of 2 is irrational.",
            OPENAI_API_KEY="sk-test-key-123456",
            OPENAI_BASE_URL=server.base_url,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "It is irrational.\n"
    assert server.requests[0].headers["Authorization"] == "Bearer sk-test-key-123456"


def test_ask_exits_1_when_the_model_fails_and_shows_no_key():
    with ScriptedServer() as server:
        server.script(status(401, message="bad key sk-test-key-123456"))
        done = run(
            "ask",
            "Prove that the square root of 2 is irrational.",
            "--model",
            "openai/gpt-4o",
            OPENAI_API_KEY="sk-test-key-123456",
            OPENAI_BASE_URL=server.base_url,
        )
    assert done.returncode == 1
    assert "AuthenticationError" in done.stderr
    assert "sk-test-key-123456" not in done.stderr + done.stdout


def test_private_keeps_a_hard_task_from_leaving():
    with ScriptedServer() as server:
        done = run(
            "ask",
            "Prove that the square root of 2 is irrational.",
            "--policy",
            "private",
            OPENAI_API_KEY="sk-test-key-123456",
            OPENAI_BASE_URL=server.base_url,
        )
    assert done.returncode == 3
    assert server.requests == []


def test_a_policy_file_is_read(tmp_path: Path):
    file = tmp_path / "policy.toml"
    file.write_text('name = "ours"\nmin_quality = 0.99\n')
    done = run("route", "Fix the grammar: He go.", "--policy", str(file), "--json")
    assert done.returncode == 3
    assert lines(done.stdout)[0]["policy"] == "ours"


def test_models_lists_what_is_here_and_what_would_enable_the_rest():
    rows = {row["name"]: row for row in lines(run("models", "--json").stdout)}
    assert rows["modelrouter/tiny-editor"]["available"]
    assert rows["openai/gpt-4o"]["enable"] == "export OPENAI_API_KEY=..."
    assert "retired" in rows["gemini/gemini-1.5-pro"]["why_not"]
    assert run("models", "--family", "slm").stdout.count("phi-2") >= 1


def test_models_can_be_listed_by_what_they_are_best_at():
    rows = lines(run("models", "--kind", "grammar", "--family", "slm", "--json").stdout)
    strengths = [row["strength"] for row in rows]
    assert strengths == sorted(strengths, reverse=True)
    assert all("slm" in row["families"] for row in rows)


def test_compare_puts_two_models_side_by_side():
    done = run("compare", "mistral 7b", "gpt-4")
    assert done.returncode == 0
    assert "adaptability" in done.stdout
    (row,) = lines(run("compare", "phi-2", "gpt-4", "--json").stdout)
    assert row["model"] == ["phi-2", "openai/gpt-4"]
    assert run("compare", "phi-3000", "gpt-4").returncode == 2


def test_demo_answers_locally_and_adds_up(tmp_path: Path):
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        '{"task": "Fix the grammar: She go to school every days."}\n'
        '{"task": "Prove that the square root of 2 is irrational."}\n'
    )
    done = run("demo", str(file), "--json")
    assert done.returncode == 0, done.stderr
    first, second, last = lines(done.stdout)
    assert first["location"] == "local"
    assert first["answer"]
    assert second["answer"] is None
    assert second["enable"].startswith("export ")
    assert last["summary"]["answered_locally"] == 1
    assert last["summary"]["share_local"] == 0.5
    assert last["summary"]["baseline_cost_usd"] > last["summary"]["routed_cost_usd"] > 0


def test_demo_really_calls_when_a_key_is_set(tmp_path: Path):
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"task": "Prove that the square root of 2 is irrational."}\n')
    with ScriptedServer() as server:
        server.script(reply("Suppose it were."))
        done = run(
            "demo",
            str(file),
            "--json",
            OPENAI_API_KEY="sk-test-key-123456",
            OPENAI_BASE_URL=server.base_url,
        )
    first, last = lines(done.stdout)
    assert first["answer"] == "Suppose it were."
    assert first["cost_usd"] > 0
    assert last["summary"]["answered_hosted"] == 1


def test_the_tasks_that_ship_are_routed_without_a_failure():
    done = run("demo", "--json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    summary = lines(done.stdout)[-1]["summary"]
    assert summary["tasks"] >= 40
    assert summary["answered_locally"] >= 10
    assert summary["failed"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["route"], "task or --file"),
        (["route", ""], "empty"),
        (["route", "x", "--file", "y"], "task or --file"),
        (["route", "--file", "missing.jsonl"], "missing.jsonl"),
        (["route", "x", "--policy", "cheepest"], "cheapest"),
        (["route", "x", "--policy", "missing.toml"], "missing.toml"),
        (["ask", "x", "--model", "gpt4o"], "openai/gpt-4o"),
        (["demo", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_input_that_makes_no_sense_exits_2_with_one_line(arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
