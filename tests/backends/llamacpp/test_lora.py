"""LoRA adapters: models of their own on one base, and files that do not fit."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelrouter import Router
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.adapter import key_of
from modelrouter.backends.llamacpp.trial import try_out
from modelrouter.catalog import ModelCard
from modelrouter.exceptions import ConfigurationError, ModelFileError
from tests.backends.llamacpp.conftest import ask
from tests.support.gguf_factory import make_tiny_gguf
from tests.support.gguf_families import make_family_gguf
from tests.support.lora_factory import make_lora_gguf

QUESTION = "What is the sea like?"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_gguf(tmp_path_factory.mktemp("lora") / "base.gguf", ends=False)


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    return make_lora_gguf(base.with_name("mail.gguf"), base)


def answer(backend: LlamaCppBackend, card: ModelCard, **options: Any) -> str:
    return str(backend.complete(ask(card, QUESTION, **{"max_tokens": 24, **options})).text)


def test_an_adapter_changes_what_is_answered_and_scale_nought_does_not(
    base: Path, adapter: Path, trials: Path
) -> None:
    plain = ModelCard.local(base)
    with closing(LlamaCppBackend(LlamaCppSettings(cache_dir=trials))) as backend:
        without = answer(backend, plain)
        assert answer(backend, ModelCard.local(base, lora=adapter)) != without
        assert answer(backend, ModelCard.local(base, lora=adapter, lora_scale=0.0)) == without
        half = answer(backend, ModelCard.local(base, lora=adapter, lora_scale=0.5))
        assert half not in (without, answer(backend, ModelCard.local(base, lora=adapter)))


def test_cards_of_one_base_give_their_own_answers_at_once(
    base: Path, adapter: Path, trusting: LlamaCppBackend
) -> None:
    other = make_lora_gguf(base.with_name("other.gguf"), base, seed=1)
    cards = [
        ModelCard.local(base),
        ModelCard.local(base, lora=adapter),
        ModelCard.local(base, lora=other),
    ]
    alone = [answer(trusting, card) for card in cards]
    assert len(set(alone)) == 3
    together: dict[int, str] = {}

    def run(i: int) -> None:
        together[i] = answer(trusting, cards[i % 3])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(9)] == alone * 3
    streamed = trusting.stream(ask(cards[1], QUESTION, max_tokens=24))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == alone[1]


def test_its_figures_and_its_unloading_are_its_own(base: Path, adapter: Path, trials: Path) -> None:
    plain, tuned = ModelCard.local(base), ModelCard.local(base, lora=adapter)
    with closing(LlamaCppBackend(LlamaCppSettings(cache_dir=trials))) as backend:
        answer(backend, plain)
        text = answer(backend, tuned)
        backend.unload(plain)
        assert (backend.figures(plain).loaded, backend.figures(tuned).loaded) == (False, True)
        assert backend.tokenizer(tuned) is not None
        assert backend.tokenizer(plain) is None
        backend.unload()
        assert answer(backend, tuned) == text


def test_it_makes_vectors_of_its_own(base: Path, adapter: Path, tmp_path: Path) -> None:
    encoder = make_tiny_gguf(tmp_path / "embed.gguf", metadata={"llama.pooling_type": 1})
    lora = make_lora_gguf(tmp_path / "lora.gguf", encoder)
    cards = [ModelCard.local(encoder), ModelCard.local(encoder, lora=lora)]
    with Router(cards) as router:
        one, other = (router.embedding("sea", model=card.name).data[0].embedding for card in cards)
    assert one != other


def test_a_router_takes_both_and_each_has_its_name_and_strengths(base: Path, adapter: Path) -> None:
    tuned = ModelCard.local(base, lora=adapter, strengths={"grammar": 0.9})
    assert tuned.name == "base+mail"
    assert ModelCard.local(base, lora=adapter, name="mine").name == "mine"
    with Router([ModelCard.local(base), tuned]) as router:
        texts = {
            name: router.completion(QUESTION, model=name, max_tokens=12).text
            for name in ("base", "base+mail")
        }
        decision = router.route("Fix the grammar: She go to school.", policy="private")
    assert texts["base"] != texts["base+mail"]
    assert decision.model == "base+mail"


def test_it_goes_with_a_known_models_card(tmp_path: Path) -> None:
    path = make_family_gguf(tmp_path / "phi-2.Q8_0.gguf", "phi-2")
    lora = make_lora_gguf(tmp_path / "legal.gguf", path)
    card, known = ModelCard.local(path, lora=lora), ModelCard.local(path)
    assert (card.name, card.strengths) == ("phi-2+legal", known.strengths)


@pytest.mark.parametrize("family", ["phi-2", "gemma-2b", "mistral-7b", "gemma-3-1b", "phi-4-mini"])
def test_every_architecture_takes_one(
    family: str, tmp_path: Path, trusting: LlamaCppBackend
) -> None:
    path = make_family_gguf(tmp_path / "m.gguf", family)
    lora = make_lora_gguf(tmp_path / "lora.gguf", path)
    with_it = ModelCard.local(path, lora=lora, chat_template="chatml")
    without = ModelCard.local(path, chat_template="chatml")
    assert answer(trusting, with_it) != answer(trusting, without)


def test_the_bundled_model_takes_one(bundled_model: Path, tmp_path: Path, trials: Path) -> None:
    lora = make_lora_gguf(tmp_path / "lora.gguf", bundled_model)
    with closing(LlamaCppBackend(LlamaCppSettings(cache_dir=trials))) as backend:
        card = ModelCard.local(bundled_model, lora=lora)
        assert answer(backend, card) != answer(backend, ModelCard.local(bundled_model))


def drop_one(weights: dict[str, Any]) -> None:
    del weights["blk.0.attn_q.weight.lora_b"]


def rename(weights: dict[str, Any]) -> None:
    for part in "ab":
        weights[f"blk.9.attn_q.weight.lora_{part}"] = weights.pop(
            f"blk.0.attn_q.weight.lora_{part}"
        )


def narrow(weights: dict[str, Any]) -> None:
    weights["blk.0.attn_q.weight.lora_a"] = weights["blk.0.attn_q.weight.lora_a"][:, :32].copy()


def other_rank(weights: dict[str, Any]) -> None:
    weights["blk.0.attn_q.weight.lora_a"] = weights["blk.0.attn_q.weight.lora_a"][:2].copy()


def stray(weights: dict[str, Any]) -> None:
    weights["blk.0.attn_q.weight"] = weights["blk.0.attn_q.weight.lora_a"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"architecture": "phi2"}, "made for the architecture 'phi2'"),
        ({"kind": "model"}, "is not an adapter"),
        ({"only": lambda name: False}, "adapts nothing"),
        ({"change": drop_one}, "but one of lora_a and lora_b"),
        ({"change": rename}, "does not have"),
        ({"change": narrow}, r"\(64, 64\)"),
        ({"change": other_rank}, r"\(64, 2\)"),
        ({"change": stray}, "not part of a LoRA"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_before_it_is_loaded(
    options: dict[str, Any], problem: str, base: Path, tmp_path: Path
) -> None:
    lora = make_lora_gguf(tmp_path / "lora.gguf", base, **options)
    with pytest.raises(ModelFileError, match=problem):
        ModelCard.local(base, lora=lora)
    # A card that was made without looking is refused by the router and by the engine.
    card = ModelCard.local(base).model_copy(update={"lora": lora})
    with pytest.raises(ModelFileError, match=problem):
        Router([card])
    with (
        closing(LlamaCppBackend(LlamaCppSettings(trial=False))) as backend,
        pytest.raises(ModelFileError, match=problem),
    ):
        answer(backend, card)


def test_files_that_are_missing_cut_or_no_gguf(base: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        ModelCard.local(base, lora=tmp_path / "none.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(adapter.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="truncated"):
        ModelCard.local(base, lora=cut)
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(bytes(200))
    with pytest.raises(ModelFileError, match="not a GGUF"):
        ModelCard.local(base, lora=noise)
    with pytest.raises(ModelFileError, match="is not an adapter"):
        ModelCard.local(base, lora=base)
    with pytest.raises(ModelFileError, match="adapter, not a whole model"):
        ModelCard.local(adapter)


def test_a_card_that_makes_no_sense(base: Path, adapter: Path) -> None:
    with pytest.raises(ConfigurationError, match="lora is for a local model"):
        ModelCard.hosted("openai/gpt-4o", lora=adapter)
    for scale in (float("nan"), float("inf"), "strong"):
        with pytest.raises(ConfigurationError, match="lora_scale"):
            ModelCard.local(base, lora=adapter, lora_scale=scale)


def test_what_python_does_not_see_the_trial_does(base: Path, adapter: Path, tmp_path: Path) -> None:
    """The same check in the child: llama.cpp gets the adapter there first."""
    wrong = make_lora_gguf(tmp_path / "lora.gguf", base, change=rename)
    try_out(base, 1, tmp_path / "cache", lambda: True, adapter)
    with pytest.raises(ModelFileError, match=r"lora.gguf is refused by llama.cpp"):
        try_out(base, 1, tmp_path / "cache", lambda: True, wrong)
    copy = tmp_path / "copy.gguf"
    shutil.copy(base, copy)
    try_out(copy, 1, tmp_path / "cache", lambda: True)
    with pytest.raises(ModelFileError):  # that the base passed says nothing of the adapter
        try_out(copy, 1, tmp_path / "cache", lambda: True, wrong)


def test_cards_share_a_model_only_with_the_same_adapter_and_scale(
    base: Path, adapter: Path
) -> None:
    plain = ModelCard.local(base)
    tuned = ModelCard.local(base, lora=adapter)
    keys = {key_of(c) for c in (plain, tuned, tuned.model_copy(update={"lora_scale": 0.5}))}
    assert len(keys) == 3
    assert key_of(tuned.model_copy(update={"name": "other"})) == key_of(tuned)


def test_flipped_bytes_in_an_adapter_never_end_the_process(
    base: Path, adapter: Path, tmp_path: Path, trials: Path
) -> None:
    import random

    draw = random.Random(0)
    good = adapter.read_bytes()
    paths = []
    for i in range(24):
        data = bytearray(good)
        for _ in range(draw.choice((1, 3, 20))):
            data[draw.randrange(min(len(data), 6_000))] = draw.randrange(256)
        path = tmp_path / f"flipped{i}.gguf"
        path.write_bytes(data)
        paths.append(path)
    program = """
import sys
from pathlib import Path
from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import BackendError
backend = LlamaCppBackend(LlamaCppSettings(cache_dir=Path(sys.argv[1])))
for lora in sys.argv[3:]:
    try:
        card = ModelCard.local(sys.argv[2], lora=lora)
        hello = [{"role": "user", "content": "Hi"}]
        request = Request(card, hello, GenerationSettings(max_tokens=2))
        print(lora, backend.complete(request).usage.total_tokens)
    except BackendError as error:
        print(lora, type(error).__name__)
backend.close()
print("alive")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(trials), str(base), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["alive"], done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(paths) + 1
