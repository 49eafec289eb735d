"""What can be used here: files, keys, servers, and what is said of the rest."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelrouter.catalog import Catalog, Found, ModelCard, discover, models_directory
from modelrouter.catalog.discovery import builtin_cards
from modelrouter.exceptions import ConfigurationError, ModelFileError, UnknownModelError
from tests.catalog.conftest import Put
from tests.catalog.gguf_file import STRING, U32, tiny_llama

KEY = "sk-secret-0123456789"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty models directory."""
    path = tmp_path / "models"
    path.mkdir()
    return path


def found(folder: Path, environ: Mapping[str, str] | None = None, **arguments: object) -> Found:
    return discover(
        {"MODELROUTER_MODELS_DIR": str(folder), **(environ or {})},
        **arguments,  # type: ignore[arg-type] # any of discover's
    )


def available(what: Found) -> set[str]:
    return {card.name for card in what.catalog if card.name not in what.unavailable}


def current(provider: str) -> str:
    """A built-in model of that provider that answers with text and is not switched off."""
    names = [
        card.name
        for card in builtin_cards()
        if card.name.startswith(f"{provider}/")
        and card.location == "hosted"
        and card.retired is None
        and "text" in card.modalities_out
    ]
    return names[-1]


class TestWithoutAnything:
    def test_only_the_bundled_model_can_be_used(self, folder: Path) -> None:
        assert available(found(folder)) == {"modelrouter/tiny-editor"}

    def test_every_other_model_says_why(self, folder: Path) -> None:
        here = found(folder)
        for card in here.catalog:
            if card.name not in available(here):
                assert here.unavailable[card.name].text

    def test_a_local_model_says_how_to_pull_it(self, folder: Path) -> None:
        missing = found(folder).unavailable["phi-2"]
        assert missing.text == "no GGUF file of it is named or pulled"
        assert missing.fix == "modelrouter pull phi-2"

    def test_clip_says_how_to_name_its_folder_and_image_models_need_a_key(
        self, folder: Path
    ) -> None:
        here = found(folder, {"OPENAI_API_KEY": KEY}).unavailable
        clip = "openai/clip-vit-base-patch32"
        assert here[clip].text == "no folder of it is named"
        assert here[clip].fix == f'Router(models=[ModelCard.local("FOLDER", name="{clip}")])'
        assert "openai/gpt-image-2" not in here
        assert "OPENAI_API_KEY" in found(folder).unavailable["openai/gpt-image-2"].text


class TestAHostedModel:
    @pytest.mark.parametrize(
        ("variable", "provider"),
        [
            ("OPENAI_API_KEY", "openai"),
            ("ANTHROPIC_API_KEY", "anthropic"),
            ("GEMINI_API_KEY", "gemini"),
            ("GOOGLE_API_KEY", "gemini"),
            ("MISTRAL_API_KEY", "mistral"),
            ("DEEPINFRA_API_KEY", "deepinfra"),
        ],
    )
    def test_can_be_used_with_its_key(self, folder: Path, variable: str, provider: str) -> None:
        model = current(provider)
        missing = found(folder).unavailable[model]
        assert missing.text.endswith("_API_KEY is not set")
        assert missing.fix == f"export {missing.text.split()[0]}=..."
        here = found(folder, {variable: KEY})
        assert model in available(here)
        providers = {name.partition("/")[0] for name in available(here)}
        assert providers == {provider, "modelrouter"}

    def test_with_a_blank_key_cannot(self, folder: Path) -> None:
        assert current("openai") in found(folder, {"OPENAI_API_KEY": " "}).unavailable

    def test_its_key_is_nowhere_to_be_seen(self, folder: Path) -> None:
        here = found(folder, {"OPENAI_API_KEY": KEY})
        assert KEY not in repr(here)
        assert not any(KEY in repr(card) + card.model_dump_json() for card in here.catalog)

    def test_with_a_key_or_server_of_its_own_needs_no_variable(self, folder: Path) -> None:
        cards = [
            ModelCard.hosted("openai/one", api_key=KEY),
            ModelCard.hosted("openai/two", api_base="http://127.0.0.1:1/v1"),
            ModelCard.hosted("ollama/three"),
        ]
        assert {c.name for c in cards} <= available(found(folder, models=cards))

    def test_with_a_variable_of_its_own_waits_for_that(self, folder: Path) -> None:
        card = ModelCard.hosted("openai/mine", api_key_env="MY_KEY")
        here = found(folder, {"OPENAI_API_KEY": KEY}, models=[card])
        assert here.unavailable["openai/mine"].fix == "export MY_KEY=..."
        assert "openai/mine" in available(found(folder, {"MY_KEY": KEY}, models=[card]))

    @pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
    def test_of_openai_follows_the_base_url(self, folder: Path, variable: str) -> None:
        url = "http://127.0.0.1:8000/v1"
        own = ModelCard.hosted("openai/own", api_base="http://127.0.0.1:1/v1")
        here = found(folder, {variable: url, "OPENAI_API_KEY": KEY}, models=[own]).catalog
        assert here.get("openai/gpt-5.6").api_base == url
        assert here.get("openai/own").api_base == "http://127.0.0.1:1/v1"
        assert here.get("anthropic/claude-haiku-4-5").api_base is None
        assert here.get("openai/clip-vit-base-patch32").api_base is None

    def test_the_base_url_alone_is_no_key(self, folder: Path) -> None:
        here = found(folder, {"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"})
        assert here.unavailable[current("openai")].text == "OPENAI_API_KEY is not set"

    def test_that_was_switched_off_names_its_successor(self, folder: Path) -> None:
        here = found(folder, {"OPENAI_API_KEY": KEY, "GEMINI_API_KEY": KEY}).unavailable
        gone = here["gemini/gemini-1.5-pro"]
        assert gone.text == "retired by its provider on 2025-09-24"
        assert gone.fix == "use gemini/gemini-pro-latest"
        assert "openai/dall-e-3" in here

    def test_that_was_switched_off_may_live_on_a_server_of_one_s_own(self, folder: Path) -> None:
        card = ModelCard.hosted("gemini/gemini-1.5-pro", api_base="http://127.0.0.1:1")
        assert card.name in available(found(folder, models=[card]))


class TestTheModelsDirectory:
    def test_is_named_by_a_variable_or_the_user_s_own(self) -> None:
        assert models_directory({"MODELROUTER_MODELS_DIR": "/x"}) == Path("/x")
        assert models_directory({"MODELROUTER_MODELS_DIR": "~/x"}) == Path.home() / "x"
        assert models_directory({}).parts[-2:] == ("modelrouter", "models")

    def test_may_be_missing_or_a_file(self, tmp_path: Path, folder: Path) -> None:
        (tmp_path / "file").touch()
        for path in (tmp_path / "nothing", tmp_path / "file"):
            assert available(found(path)) == available(found(folder))

    def test_gives_a_known_model_its_file(self, folder: Path, put: Put) -> None:
        path = put(name="models/Phi-2.Q4_K_M.GGUF")
        here = found(folder)
        assert "phi-2" in available(here)
        assert here.catalog.get("phi-2").path == path

    def test_makes_a_card_of_an_unknown_file(self, folder: Path, put: Put) -> None:
        put(name="models/my-model.gguf")
        put(b"not a model", name="models/readme.txt")
        here = found(folder)
        assert available(here) == {"modelrouter/tiny-editor", "my-model"}
        assert here.catalog.get("my-model").location == "local"

    def test_keeps_two_files_of_one_model_apart(self, folder: Path, put: Put) -> None:
        first = put(name="models/phi-2.Q4.gguf")
        put(name="models/phi-2.Q8.gguf")
        here = found(folder)
        assert {"phi-2", "phi-2.Q8"} <= available(here)
        assert here.catalog.get("phi-2").path == first
        assert here.catalog.get("phi-2.Q8").strengths == here.catalog.get("phi-2").strengths

    def test_says_what_is_wrong_with_a_damaged_file(
        self, folder: Path, put: Put, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(tiny_llama().write()[:-100], name="models/phi-2.gguf")
        put(b"<html>", name="models/other.gguf")
        put(name="models/whole.gguf")
        with caplog.at_level(logging.WARNING, "modelrouter"):
            here = found(folder)
        assert "phi-2.gguf is truncated" in here.unavailable["phi-2"].text
        assert "is not a GGUF file" in here.unavailable["other"].text
        assert "whole" in available(here)
        assert len(caplog.records) == 2

    def test_prefers_a_sound_file_to_a_damaged_one(self, folder: Path, put: Put) -> None:
        put(b"<html>", name="models/phi-2.Q4.gguf")
        put(name="models/phi-2.Q8.gguf")
        assert "phi-2" in available(found(folder))

    def test_leaves_out_what_is_no_model(self, folder: Path, put: Put) -> None:
        adapter = tiny_llama().with_entry("general.type", STRING, "adapter")
        second = tiny_llama().with_entry("split.no", U32, 1).with_entry("split.count", U32, 2)
        put(adapter, name="models/lora.gguf")
        put(second, name="models/big-00002-of-00002.gguf")
        assert available(found(folder)) == {"modelrouter/tiny-editor"}

    def test_holds_encoders_that_make_vectors_and_no_text(self, folder: Path, put: Put) -> None:
        encoder = tiny_llama().with_entry("llama.pooling_type", U32, 1)
        put(encoder, name="models/encoder.gguf")
        here = found(folder)
        assert "encoder" in available(here)
        assert here.catalog.get("encoder").modalities_out == {"embedding"}

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
    def test_may_be_unreadable(self, folder: Path) -> None:
        folder.chmod(0)
        try:
            assert available(found(folder)) == {"modelrouter/tiny-editor"}
        finally:
            folder.chmod(0o700)


class TestModelsThatAreNamed:
    def test_may_be_paths_cards_and_names(self, folder: Path, put: Put) -> None:
        path = put(name="mine.gguf")
        here = found(
            folder,
            {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY},
            models=[
                str(path),
                put(name="yours.gguf"),
                "groq/some-model",
                ModelCard.local(path, name="third"),
                "GPT-4o",
            ],
        )
        assert {"mine", "yours", "third", "groq/some-model"} <= available(here)

    def test_a_name_keeps_the_file_that_was_pulled(self, folder: Path, put: Put) -> None:
        put(name="models/phi-2.gguf")
        assert "phi-2" in available(found(folder, models=["phi-2"]))

    def test_a_known_name_on_any_file_is_that_model(self, folder: Path, put: Put) -> None:
        card = ModelCard.local(put(name="anything.gguf"), name="phi-2")
        here = found(folder, models=[card])
        assert here.catalog.get("phi-2").path == card.path
        assert "phi-2" in available(here)

    def test_a_known_hosted_name_is_not_doubled(self, folder: Path) -> None:
        assert len(found(folder, models=["openai/gpt-4o"]).catalog) == len(found(folder).catalog)

    @pytest.mark.parametrize("content", [b"", b"<html>", tiny_llama().write()[:-100]])
    def test_a_damaged_file_is_an_error(self, folder: Path, put: Put, content: bytes) -> None:
        with pytest.raises(ModelFileError):
            found(folder, models=[put(content, name="named.gguf")])

    def test_a_damaged_file_on_a_card_is_one_too(self, folder: Path, put: Put) -> None:
        card = ModelCard.local(put(name="named.gguf"))
        put(b"<html>", name="named.gguf")
        with pytest.raises(ModelFileError):
            found(folder, models=[card])

    def test_a_missing_file_is_an_error(self, folder: Path) -> None:
        with pytest.raises(ModelFileError, match="does not exist"):
            found(folder, models=["nothing.gguf"])

    def test_a_misspelt_name_brings_the_nearest(self, folder: Path) -> None:
        with pytest.raises(UnknownModelError, match="Did you mean 'phi-2'"):
            found(folder, models=["phi2"])

    @pytest.mark.parametrize("model", ["", " ", 5, None, b"x.gguf", {"name": "x"}])
    def test_anything_else_is_no_model(self, folder: Path, model: object) -> None:
        with pytest.raises(ConfigurationError, match="must be a card, a name or a path"):
            found(folder, models=[model])

    @pytest.mark.parametrize("models", ["phi-2.gguf", Path("phi-2.gguf"), 5])
    def test_one_model_that_is_not_in_a_list_says_so(self, folder: Path, models: object) -> None:
        with pytest.raises(ConfigurationError, match=r"is not a list. Write models=\["):
            found(folder, models=models)

    def test_two_of_one_name_are_told_apart_or_refused(self, folder: Path, put: Put) -> None:
        paths = [put(name="a/model.gguf"), put(name="b/model.gguf")]
        with pytest.raises(ConfigurationError, match="two are called 'model'"):
            found(folder, models=paths)
        here = found(folder, models=[paths[0], ModelCard.local(paths[1], name="other")])
        assert {"model", "other"} <= available(here)


def test_a_catalog_that_is_given_is_all_there_is(folder: Path, put: Put) -> None:
    put(name="models/pulled.gguf")
    broken = ModelCard.local(put(name="a.gguf"))
    put(b"<html>", name="a.gguf")
    here = found(folder, catalog=Catalog([broken, ModelCard.hosted("openai/gpt-5.6")]))
    assert [card.name for card in here.catalog] == ["a", "openai/gpt-5.6"]
    assert "is not a GGUF file" in here.unavailable["a"].text


def test_what_is_found_is_the_same_each_time(folder: Path, put: Put) -> None:
    for name in ("c", "a", "b"):
        put(name=f"models/{name}.gguf")
    assert [*found(folder).catalog] == [*found(folder).catalog]
    assert found(folder).unavailable == found(folder).unavailable
    assert [c.name for c in found(folder).catalog][-3:] == ["a", "b", "c"]
