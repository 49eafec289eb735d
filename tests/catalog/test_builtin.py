"""The built-in cards, and cards filled for models that a user names."""

from __future__ import annotations

import datetime
import traceback
from pathlib import Path

import pytest

from modelrouter.catalog import Catalog, ModelCard
from modelrouter.catalog.builtin import _retired, builtin_fields, known_name
from modelrouter.catalog.discovery import builtin_cards
from modelrouter.catalog.gguf import check
from modelrouter.catalog.prices import look_up
from modelrouter.exceptions import ConfigurationError, ModelFileError
from modelrouter.task import KINDS
from tests.catalog.conftest import Put
from tests.catalog.gguf_file import F32, STRING, U32, TensorEntry, tiny_llama

CARDS = Catalog(builtin_cards())
HOSTED = [card for card in CARDS if card.location == "hosted"]
LOCAL = [card for card in CARDS if card.location == "local"]


class TestEveryBuiltInCard:
    @pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
    def test_says_what_models_are_compared_by(self, card: ModelCard) -> None:
        assert card.axes is not None
        assert all(card.axes.model_dump().values())
        assert card.licence
        assert 0 <= card.general_strength < 1
        assert set(card.strengths) <= set(KINDS)
        assert card.scope is None or set(card.strengths) == set(card.scope)

    @pytest.mark.parametrize("card", HOSTED, ids=lambda card: card.name)
    def test_that_is_hosted_knows_its_key(self, card: ModelCard) -> None:
        assert card.api_key_env
        assert card.api_key_env.endswith("_API_KEY")
        assert card.api_key is None

    @pytest.mark.parametrize("card", LOCAL, ids=lambda card: card.name)
    def test_that_is_local_is_free(self, card: ModelCard) -> None:
        assert card.price is not None
        assert card.price.cost_usd(1000, 1000) == 0
        assert card.parameters
        assert card.api_key_env is None

    def test_of_each_provider_some_have_a_price(self) -> None:
        priced = {card.name.partition("/")[0] for card in HOSTED if card.price is not None}
        assert priced == {card.name.partition("/")[0] for card in HOSTED}

    def test_that_sees_can_be_asked_about_pictures(self) -> None:
        seeing = [card for card in HOSTED if "image_understanding" in card.strengths]
        assert len(seeing) >= 5
        # Where the price file knows the model; an older one may not.
        blind = [c.name for c in seeing if look_up(c.name) and "image" not in c.modalities_in]
        assert blind == []

    def test_has_a_successor_that_is_there_and_stays(self) -> None:
        leaving = {name for name, fields in builtin_fields().items() if "retires" in fields}
        successors = {name: CARDS.get(name).successor for name in leaving}
        assert all(successors.values())
        assert set(successors.values()) & leaving == set()
        assert all(successor in CARDS for successor in successors.values())


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("openai/gpt-4", {"foundation", "llm"}),
        ("openai/gpt-4o", {"foundation", "llm"}),
        ("gemini/gemini-1.5-pro", {"foundation", "llm"}),
        ("openai/dall-e-3", {"foundation"}),
        ("openai/clip-vit-base-patch32", {"foundation"}),
        ("mistral-7b", {"llm", "slm"}),
        ("phi-2", {"slm"}),
        ("gemma-2b", {"slm"}),
        ("tinyllama-1.1b", {"slm"}),
        ("modelrouter/tiny-editor", {"slm"}),
    ],
)
def test_a_model_belongs_to_its_families(name: str, families: set[str]) -> None:
    assert CARDS.get(name).families == families


def test_the_bundled_model_is_what_its_card_says(bundled_model: Path) -> None:
    card, header = CARDS.get("tiny-editor"), check(bundled_model)
    assert card.path == bundled_model
    assert card.scope == {"grammar", "completion"}
    assert card.languages == {"en"}
    assert card.context_window <= (header.whole_number("context_length") or 0)
    assert card.max_prompt_tokens is not None
    assert card.max_prompt_tokens < card.context_window / 2
    assert card.parameters == pytest.approx(header.parameters, rel=0.02)
    assert card.strength("code") == 0.0


class TestRetirement:
    def test_begins_on_the_day_itself(self) -> None:
        day = datetime.date(2026, 5, 12)
        before = day - datetime.timedelta(days=1)
        assert _retired("openai/dall-e-3", None, before) is None
        assert _retired("openai/dall-e-3", None, day) == "2026-05-12"

    def test_of_a_model_that_is_not_built_in_follows_the_price_file(self) -> None:
        entry = look_up("openai/gpt-4")
        if entry is None or entry.retires is None:
            pytest.skip("this price file no longer says")
        day = datetime.date.fromisoformat(entry.retires)
        assert _retired("acme/gpt-4", entry, day) == entry.retires
        assert _retired("acme/gpt-4", entry, day - datetime.timedelta(days=1)) is None

    def test_is_past_for_models_long_gone(self) -> None:
        assert CARDS.get("gemini-1.5-pro").retired == "2025-09-24"
        assert CARDS.get("open-mistral-7b").retired == "2025-03-30"


class TestAHostedCard:
    def test_is_filled_from_the_price_file(self) -> None:
        card = ModelCard.hosted("openai/gpt-4o-mini")
        assert card.context_window >= 128_000
        assert card.price is not None
        assert {"tools", "json_schema"} <= card.capabilities
        assert card.modalities_in == {"text", "image"}

    def test_of_an_unknown_model_states_what_is_not_known(self) -> None:
        card = ModelCard.hosted("openai/my-own-model")
        assert (card.context_window, card.price, card.families) == (8192, None, {"llm"})
        assert (card.backend, card.location, card.api_key_env) == (
            "litellm",
            "hosted",
            "OPENAI_API_KEY",
        )

    def test_takes_the_fields_given(self) -> None:
        card = ModelCard.hosted(
            "openai/gpt-4", context_window=99, retired=None, api_base="http://x"
        )
        assert (card.context_window, card.retired, card.api_base) == (99, None, "http://x")
        assert card.name == "openai/gpt-4"

    @pytest.mark.parametrize(
        ("name", "variable"),
        [
            ("openai/x", "OPENAI_API_KEY"),
            ("gpt-4o", "OPENAI_API_KEY"),
            ("anthropic/x", "ANTHROPIC_API_KEY"),
            ("gemini/x", "GEMINI_API_KEY"),
            ("mistral/x", "MISTRAL_API_KEY"),
            ("groq/x", "GROQ_API_KEY"),
            ("together_ai/a/b", "TOGETHERAI_API_KEY"),
            ("ollama/x", None),
        ],
    )
    def test_knows_the_variable_of_its_provider_s_key(
        self, name: str, variable: str | None
    ) -> None:
        assert ModelCard.hosted(name).api_key_env == variable

    def test_of_an_embedding_model_is_for_nothing_else(self) -> None:
        card = ModelCard.hosted("openai/text-embedding-3-small")
        assert card.scope == {"embedding"}
        assert card.modalities_out == {"embedding"}

    def test_of_an_image_model_is_for_nothing_else(self) -> None:
        assert CARDS.get("gpt-image-2").modalities_out == {"image"}

    @pytest.mark.parametrize("name", ["openai/tts-1", "openai/omni-moderation-latest"])
    def test_of_a_model_for_no_task_is_refused(self, name: str) -> None:
        if look_up(name) is None:
            pytest.skip("this price file no longer knows it")
        with pytest.raises(ConfigurationError, match="which no task here asks for"):
            ModelCard.hosted(name)

    @pytest.mark.parametrize("name", ["", "  "])
    def test_needs_a_name(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="is not a model name"):
            ModelCard.hosted(name)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"context_windw": 1},
            {"context_window": 0},
            {"strengths": {"chat": 2}},
            {"location": "x"},
        ],
    )
    def test_with_a_wrong_field_names_it_and_never_the_key(self, wrong: dict[str, object]) -> None:
        key = "sk-secret-0123456789"
        with pytest.raises(ConfigurationError) as caught:
            ModelCard.hosted("openai/gpt-4o", api_key=key, **wrong)
        told = "".join(traceback.format_exception(caught.value))
        assert next(iter(wrong)) in str(caught.value)
        assert "openai/gpt-4o" in str(caught.value)
        assert key not in told

    def test_never_shows_its_key(self) -> None:
        key = "sk-secret-0123456789"
        card = ModelCard.hosted("openai/gpt-4o", api_key=key)
        shown = [repr(card), str(card), str(card.model_dump()), card.model_dump_json()]
        assert not any(key in text for text in shown)
        assert card.api_key is not None
        assert card.api_key.get_secret_value() == key


class TestALocalCard:
    def test_is_filled_from_the_file(self, put: Put) -> None:
        path = put(name="My Model.Q8.gguf")
        card = ModelCard.local(path)
        assert card.name == "My Model.Q8"
        assert card.path == path
        assert (card.location, card.backend, card.families) == ("local", "llamacpp", {"slm"})
        assert card.context_window == 256
        assert card.parameters == check(path).parameters
        assert card.licence == "mit"
        assert card.price is not None
        assert card.price.cost_usd(10, 10) == 0

    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("phi-2.Q4_K_M.gguf", "phi-2"),
            ("Phi-2.GGUF", "phi-2"),
            ("mistral-7b-instruct-v0.2.Q4_K_M.gguf", "mistral-7b"),
            ("Meta-Llama-3-8B-Instruct.Q4_K_M.gguf", "llama-3-8b"),
            ("gemma-2b-it.gguf", "gemma-2b"),
            ("gemma-7b-it.gguf", "gemma-7b"),
            ("tinyllama-1.1b-chat-v1.0.Q8_0.gguf", "tinyllama-1.1b"),
            ("Meta-Llama-3.1-8B-Instruct.gguf", None),
            ("Phi-3-mini.gguf", None),
        ],
    )
    def test_is_a_known_model_s_by_its_file_name(self, file: str, name: str | None) -> None:
        assert known_name(Path(file)) == name

    def test_of_a_known_name_brings_its_strengths(self, put: Put) -> None:
        card = ModelCard.local(put(name="anything.gguf"), name="phi-2")
        assert card.name == "phi-2"
        assert card.strengths == CARDS.get("phi-2").strengths
        # What the file says of itself counts for more than what is known of its model.
        assert card.context_window == 256
        assert card.parameters == check(put(name="anything.gguf")).parameters

    def test_takes_a_window_that_memory_bears_unless_asked(self, put: Put) -> None:
        path = put(tiny_llama(context=131_072))
        assert ModelCard.local(path).context_window == 8192
        assert ModelCard.local(path, context_window=131_072).context_window == 131_072

    def test_of_a_file_without_a_window_takes_a_small_one(self, put: Put) -> None:
        path = put(tiny_llama().with_entry("llama.context_length", F32, 1.0))
        assert ModelCard.local(path).context_window == 2048

    def test_of_a_large_model_is_an_llm(self, put: Put) -> None:
        # A type of the future: its size is not known, so that a small file will do.
        huge = TensorEntry("x", (1 << 20, 1 << 14), 4000)
        file = tiny_llama()
        path = put(type(file)(file.entries, (huge,)).header() + bytes(64))
        card = ModelCard.local(path)
        assert card.families == {"llm"}
        assert card.parameters == 1 << 34

    def test_of_an_encoder_makes_no_text(self, put: Put) -> None:
        card = ModelCard.local(put(tiny_llama().with_entry("llama.pooling_type", U32, 3)))
        assert card.modalities_out == {"embedding"}
        assert card.scope == {"embedding"}

    def test_of_the_bundled_file_is_the_bundled_card(self, bundled_model: Path) -> None:
        card = ModelCard.local(bundled_model)
        assert card.name == "modelrouter/tiny-editor"
        assert card.scope == {"grammar", "completion"}

    def test_of_a_damaged_file_is_refused(self, put: Put) -> None:
        with pytest.raises(ModelFileError):
            ModelCard.local(put(tiny_llama().write()[:-100]))

    def test_with_a_licence_that_is_no_text_has_none(self, put: Put) -> None:
        path = put(tiny_llama().with_entry("general.license", U32, 1))
        assert ModelCard.local(path).licence is None
        assert (
            ModelCard.local(put(tiny_llama().with_entry("general.license", STRING, ""))).licence
            is None
        )
