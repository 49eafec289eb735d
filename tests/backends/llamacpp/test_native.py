"""What stands right over llama.cpp: slicing, counting from many threads, the number of threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import llama_cpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.backends.llamacpp.cpu import usable_cores
from modelrouter.backends.llamacpp.engine.native import Model, NativeError, Switch, slices
from modelrouter.exceptions import LocalModelError
from tests.backends.llamacpp.conftest import ask
from tests.support.gguf_factory import make_tiny_gguf

PROSE = (
    "Whereas recognition of the inherent dignity and of the equal and inalienable rights of all\n"
    "members of the human family is the foundation of freedom, justice and peace in the world;\n\n"
    "    she said: \"It's 12,345 metres, isn't it?\"  Über-große Äpfel kosten 3€ — 漢字 и ещё.\n"
)


@given(st.text(max_size=200), st.integers(2, 40))
def test_slices_are_the_text_and_no_longer_than_asked(text, limit):
    parts = list(slices(text, limit))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= limit


@given(st.text("ab <|user|>\n", max_size=300), st.integers(16, 40))
def test_slices_leave_markers_whole(text, limit):
    import re

    text = text.replace("b", "<|user|>")
    parts = list(slices(text, limit, re.compile(re.escape("<|user|>"))))
    assert "".join(parts) == text
    assert sum(part.count("<|user|>") for part in parts) == text.count("<|user|>")


@pytest.mark.parametrize("kind", ["gpt-2", "llama-bpe", "qwen2", "default", "deepseek-llm"])
def test_slicing_does_not_change_the_tokens_of_prose(tmp_path, kind):
    path = make_tiny_gguf(tmp_path / "m.gguf", metadata={"tokenizer.ggml.pre": kind})
    text = PROSE * 30
    whole = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    expected = whole.tokenize(text.encode(), add_bos=False, special=False)
    whole.close()
    model = Model(path)
    assert model.tokenize(text, special=False) == expected
    assert model.count(text) == len(expected)


def test_a_file_that_is_none_is_an_error_with_llama_cpps_words(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(NativeError):
        Model(tmp_path / "x.gguf")


def test_loading_can_be_given_up(models):
    with pytest.raises(NativeError):
        Model(models.chain.path, lambda: False)


def test_a_switch_stays_on():
    switch = Switch()
    assert not switch.on
    switch.turn()
    switch.turn()
    assert switch.on


def test_tokens_are_counted_from_many_threads_while_the_model_answers(backend, models):
    backend.complete(ask(models.endless, "?", max_tokens=1))
    count = backend.tokenizer(models.endless)
    expected = count(PROSE * 5)
    busy = backend.stream(ask(models.endless, "?", max_tokens=15_000))
    next(busy)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: count(PROSE * 5), range(200))) == {expected}
    assert next(busy)
    busy.close()


def test_a_model_may_be_closed_while_others_count(backend, models):
    backend.complete(ask(models.tiny, "?", max_tokens=1))
    count = backend.tokenizer(models.tiny)
    expected, started, wrong = count(PROSE * 20), threading.Barrier(5), []

    def go_on() -> None:
        started.wait()
        try:
            while True:
                if count(PROSE * 20) != expected:
                    wrong.append("another number")
        except LocalModelError:
            pass
        except BaseException as error:
            wrong.append(error)

    # They take turns, so that at any time one of them holds the model.
    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    backend.close()
    for thread in threads:
        thread.join(10)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)


def test_there_is_at_least_one_core_and_not_more_than_processors():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
