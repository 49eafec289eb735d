"""From a name to a model that a Router uses, over the hub's protocol."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

import pytest

import modelrouter
from modelrouter import Router
from modelrouter import hub as hub_part
from modelrouter.exceptions import (
    ChecksumError,
    ConfigurationError,
    DiskSpaceError,
    GatedModelError,
    HubConnectionError,
    ModelFileError,
    NotOnHubError,
    PullError,
    UnknownModelError,
)
from modelrouter.hub.download import fetch
from tests.hub.conftest import PHI_2
from tests.support.hub_server import LET_IN, HubServer
from tests.support.lora_factory import make_lora_gguf


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_pulled_model_answers_in_a_router(hub: HubServer, folder: Path) -> None:
    card = modelrouter.pull("phi-2", "Q4_K_M")
    assert (card.name, card.path) == ("phi-2", folder / "phi-2.Q4_K_M.gguf")
    assert visible(folder) == ["phi-2.Q4_K_M.gguf"]
    with Router() as router:
        assert "phi-2" not in router.unavailable
        reply = router.completion("Hello", model="phi-2", max_tokens=4)
    assert reply.model == "phi-2"


def test_the_largest_that_fits_is_taken_unless_one_is_named(hub: HubServer, folder: Path) -> None:
    made = hub_part.plan("phi-2")
    assert [o.quantization for o in made.offers] == ["Q4_K_M", "Q8_0"]
    assert made.choose().quantization == "Q8_0"
    assert made.choose("q4_k_m").quantization == "Q4_K_M"
    assert made.choose("PHI-2.Q4_K_M.gguf").quantization == "Q4_K_M"
    assert hub_part.plan("phi-2:Q4_K_M").choose().quantization == "Q4_K_M"


def test_memory_counts_weights_and_the_windows_keys_and_values(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    offer = hub_part.plan("phi-2").offers[0]
    # Two layers of four heads of 16 numbers, keys and values, two bytes each, 512 tokens.
    assert offer.memory_bytes == len(small) + 2 * 4 * (16 + 16) * 2 * 512
    assert offer.size_bytes == len(small)


def test_unquantized_weights_are_taken_only_where_there_are_no_others(
    hub: HubServer, folder: Path, small: bytes, larger: bytes
) -> None:
    hub.add("o/m", {"m-Q4_0.gguf": small, "m-F16.gguf": larger})
    assert hub_part.plan("o/m").choose().quantization == "Q4_0"
    hub.add("o/n", {"n-F16.gguf": larger})
    assert hub_part.plan("o/n").choose().quantization == "F16"


def test_what_fits_into_no_memory_is_not_chosen_but_may_be_named(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    hub.add("o/huge", {"huge.Q4_0.gguf": small}, sizes={"huge.Q4_0.gguf": 10**15})
    made = hub_part.plan("o/huge")
    assert not made.offers[0].fits
    with pytest.raises(PullError, match="fits into"):
        made.choose()
    assert made.choose("Q4_0").size_bytes == 10**15


def test_any_repository_can_be_named(hub: HubServer, folder: Path, small: bytes) -> None:
    hub.add("someone/Own-GGUF", {"sub/Own-Q5_K_S.gguf": small}, licence="apache-2.0")
    card = modelrouter.pull("https://huggingface.co/someone/Own-GGUF")
    assert (card.name, card.path) == ("Own-Q5_K_S", folder / "Own-Q5_K_S.gguf")


def test_a_file_that_the_catalog_would_not_know_gets_a_name_that_it_knows(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    del hub.repositories[PHI_2].files["phi-2.Q8_0.gguf"]
    hub.repositories[PHI_2].files = {"model-q5_k_m.gguf": small}
    card = modelrouter.pull("Phi 2")
    assert (card.name, visible(folder)) == ("phi-2", ["phi-2-Q5_K_M.gguf"])


def test_a_second_quantization_is_returned_under_the_name_a_router_gives_it(
    hub: HubServer, folder: Path
) -> None:
    modelrouter.pull("phi-2", "Q4_K_M")
    card = modelrouter.pull("phi-2", "Q8_0")
    assert card.name == "phi-2.Q8_0"
    with Router() as router:
        assert router.catalog.get(card.name).path == card.path


def test_what_is_there_already_is_not_fetched_again(hub: HubServer, folder: Path) -> None:
    modelrouter.pull("phi-2", "Q4_K_M")
    before = len(hub.fetched())
    assert modelrouter.pull("phi-2", "Q4_K_M").name == "phi-2"
    assert len(hub.fetched()) == before + 1  # its beginning, for the memory that it takes


def test_a_damaged_file_of_that_name_is_replaced(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    folder.mkdir(parents=True)
    (folder / "phi-2.Q4_K_M.gguf").write_bytes(bytes(len(small)))
    modelrouter.pull("phi-2", "Q4_K_M")
    assert (folder / "phi-2.Q4_K_M.gguf").read_bytes() == small


def test_a_broken_connection_is_gone_on_from(hub: HubServer, folder: Path, small: bytes) -> None:
    hub.breaks = [200_000, 100_000]
    seen: list[tuple[int, int]] = []
    card = modelrouter.pull("phi-2", "Q4_K_M", progress=lambda *now: seen.append(now))
    assert card.path is not None
    assert card.path.read_bytes() == small
    asked = [seen.headers["Range"] for seen in hub.fetched()[1:]]
    assert asked == [None, "bytes=200000-", "bytes=300000-"]
    assert seen[0] == (0, len(small))
    assert seen[-1] == (len(small), len(small))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)


def test_a_pull_that_was_given_up_is_gone_on_from_by_the_next(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    class Stopped(Exception):
        pass

    def stop(have: int, _size: int) -> None:
        if have >= 200_000:
            raise Stopped

    hub.breaks = [200_000]
    with pytest.raises(Stopped):
        modelrouter.pull("phi-2", "Q4_K_M", progress=stop)
    assert not [name for name in visible(folder) if not name.startswith(".")]
    with Router() as router:
        assert router.unavailable["phi-2"].fix == "modelrouter pull phi-2"
    hub.breaks.clear()
    modelrouter.pull("phi-2", "Q4_K_M")
    assert [seen.headers["Range"] for seen in hub.fetched()].count("bytes=200000-") == 1
    assert (folder / "phi-2.Q4_K_M.gguf").read_bytes() == small
    assert visible(folder) == ["phi-2.Q4_K_M.gguf"]


def test_a_server_without_ranges_sends_it_all_again(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    hub.breaks, hub.ranges = [200_000], False
    card = modelrouter.pull("phi-2", "Q4_K_M")
    assert card.path is not None
    assert card.path.read_bytes() == small


def test_a_store_that_never_gets_further_is_given_up(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    made = hub_part.plan("phi-2")
    offer = made.choose("Q4_K_M")
    target = made.target(offer)
    folder.mkdir(parents=True)
    hub.breaks, hub.ranges = [200_000] * 20, False
    with pytest.raises(HubConnectionError, match=r"broke off after 200,000 of"):
        fetch(PHI_2, made.listing.commit, offer, target, wait_s=0.01)
    assert len(hub.breaks) == 15
    hub.breaks, hub.ranges = [], True
    fetch(PHI_2, made.listing.commit, offer, target, wait_s=0.01)
    assert target.read_bytes() == small


def test_a_store_that_has_less_than_was_promised_is_given_up(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    hub.add("o/less", {"less.Q4_0.gguf": small}, sizes={"less.Q4_0.gguf": len(small) + 10})
    made = hub_part.plan("o/less")
    folder.mkdir(parents=True)
    with pytest.raises(HubConnectionError, match=r"less.Q4_0.gguf broke off"):
        fetch("o/less", made.listing.commit, made.offers[0], folder / "less.gguf", wait_s=0.01)
    assert not [name for name in visible(folder) if not name.startswith(".")]


def test_what_is_left_of_another_version_goes_when_the_new_one_is_there(
    hub: HubServer, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / ".phi-2.Q4_K_M.gguf.0123456789abcdef.part").write_bytes(b"old")
    modelrouter.pull("phi-2", "Q4_K_M")
    assert visible(folder) == ["phi-2.Q4_K_M.gguf"]


def test_files_of_one_name_in_two_folders_are_told_apart(
    hub: HubServer, folder: Path, small: bytes, larger: bytes
) -> None:
    hub.add("o/two", {"m-Q4_0.gguf": small, "new/m-Q4_0.gguf": larger})
    with pytest.raises(NotOnHubError, match="several files"):
        hub_part.plan("o/two:Q4_0").choose()
    card = modelrouter.pull("o/two:m-Q4_0.gguf")
    assert card.path is not None
    assert card.path.read_bytes() == small
    modelrouter.pull("o/two", "new/m-Q4_0.gguf")
    assert card.path.read_bytes() == larger


def test_adapters_are_not_put_among_the_models(
    hub: HubServer, folder: Path, tmp_path: Path, small: bytes
) -> None:
    base = tmp_path / "base.gguf"
    base.write_bytes(small)
    lora = make_lora_gguf(tmp_path / "lora.gguf", base)
    hub.add("o/lora", {"lora-F32.gguf": lora.read_bytes()})
    with pytest.raises(NotOnHubError, match="adapters"):
        modelrouter.pull("o/lora")
    assert not folder.exists()


def test_a_page_that_wants_a_login_is_no_hub(hub: HubServer, folder: Path) -> None:
    hub.login = True
    with pytest.raises(HubConnectionError, match="not the hub's protocol"):
        modelrouter.pull("phi-2")


def test_a_busy_store_is_asked_again(hub: HubServer, folder: Path) -> None:
    made = hub_part.plan("phi-2")
    hub.statuses = [503]
    assert modelrouter.pull(made, "Q4_K_M").name == "phi-2"


def test_a_store_that_refuses_is_not_asked_again(hub: HubServer, folder: Path) -> None:
    made = hub_part.plan("phi-2")
    hub.statuses = [410, 200]
    with pytest.raises(HubConnectionError, match="410"):
        modelrouter.pull(made, "Q4_K_M")
    assert hub.statuses == [200]


def test_a_wrong_checksum_leaves_nothing(hub: HubServer, folder: Path, small: bytes) -> None:
    hub.corrupt = True
    with pytest.raises(ChecksumError, match="damaged") as caught:
        modelrouter.pull("phi-2", "Q4_K_M")
    assert caught.value.expected == hashlib.sha256(small).hexdigest() != caught.value.found
    assert visible(folder) == []
    hub.corrupt = False
    assert modelrouter.pull("phi-2", "Q4_K_M").name == "phi-2"


def test_a_file_without_lfs_is_checked_by_gits_sum(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    hub.add("o/plain", {"plain.Q4_0.gguf": small}, plain=frozenset({"plain.Q4_0.gguf"}))
    assert modelrouter.pull("o/plain").name == "plain.Q4_0"
    (folder / "plain.Q4_0.gguf").unlink()
    hub.corrupt = True
    with pytest.raises(ChecksumError):
        modelrouter.pull("o/plain")


def test_too_small_a_disk_is_noticed_before_anything_is_fetched(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    hub.add("o/huge", {"huge.Q4_0.gguf": small}, sizes={"huge.Q4_0.gguf": 10**15})
    made = hub_part.plan("o/huge:Q4_0")
    before = len(hub.fetched())
    with pytest.raises(DiskSpaceError, match="are free in") as caught:
        modelrouter.pull(made)
    assert caught.value.needed_bytes == 10**15 > caught.value.free_bytes
    assert len(hub.fetched()) == before


def test_a_gated_repository_says_where_to_accept_its_terms(
    hub: HubServer, folder: Path, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("google/gated-GGUF", {"gated.Q4_0.gguf": small}, licence="gemma", gated=True)
    with pytest.raises(GatedModelError, match=f"{hub.endpoint}/google/gated-GGUF") as caught:
        modelrouter.pull("google/gated-GGUF")
    assert caught.value.repository == "google/gated-GGUF"
    monkeypatch.setenv("HF_TOKEN", "hf_somebody_else")
    with pytest.raises(GatedModelError):
        modelrouter.pull("google/gated-GGUF")
    monkeypatch.setenv("HF_TOKEN", LET_IN)
    assert modelrouter.pull("google/gated-GGUF").name == "gated.Q4_0"


def test_the_token_stays_with_the_hub(
    hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", LET_IN)
    modelrouter.pull("phi-2", "Q4_K_M")
    hubs = [seen for seen in hub.requests if not seen.path.startswith("/store/")]
    assert {seen.headers["Authorization"] for seen in hubs} == {f"Bearer {LET_IN}"}
    assert {seen.headers["Authorization"] for seen in hub.fetched()} == {None}


def test_nothing_goes_round_the_endpoint_though_the_file_is_in_a_chunk_store(
    hub: HubServer, folder: Path
) -> None:
    import hf_xet  # noqa: F401 (it is installed, and would be used by hf_hub_download)

    modelrouter.pull("phi-2", "Q4_K_M")
    assert not [seen.path for seen in hub.requests if "xet" in seen.path]


def test_a_repository_that_is_not_there(hub: HubServer, folder: Path) -> None:
    with pytest.raises(NotOnHubError, match="no repository nobody/nothing"):
        modelrouter.pull("nobody/nothing")


def test_a_model_whose_repositories_are_gone_names_them_and_what_to_do(
    hub: HubServer, folder: Path
) -> None:
    with pytest.raises(NotOnHubError, match="claude2-alpaca-7B-GGUF"):
        modelrouter.pull("alpaca-7b")


def test_the_next_repository_of_a_model_is_tried(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    file = "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf"
    hub.add("bartowski/Mistral-7B-Instruct-v0.3-GGUF", {file: small})
    card = modelrouter.pull("mistral-7b")
    assert (card.name, card.path) == ("mistral-7b", folder / file)


def test_a_quantization_that_is_not_there_names_those_that_are(
    hub: HubServer, folder: Path
) -> None:
    with pytest.raises(NotOnHubError, match="Q4_K_M, Q8_0") as caught:
        modelrouter.pull("phi-2:Q3_K_S")
    assert caught.value.choices == ("Q4_K_M", "Q8_0")


def test_a_repository_without_whole_models(hub: HubServer, folder: Path, small: bytes) -> None:
    hub.add("o/parts", {"m-00001-of-00002.gguf": small, "model.safetensors": b"x"})
    with pytest.raises(NotOnHubError, match="no whole GGUF"):
        modelrouter.pull("o/parts")


def test_a_hub_out_of_reach(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.close()
    with pytest.raises(HubConnectionError, match="cannot be reached"):
        modelrouter.pull("phi-2")
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-hub.invalid")
    with pytest.raises(HubConnectionError, match="cannot be reached"):
        modelrouter.pull("phi-2")


def test_an_endpoint_that_is_no_hub(
    hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories.clear()
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/elsewhere")
    with pytest.raises(NotOnHubError):
        modelrouter.pull("o/m")
    monkeypatch.setenv("HF_ENDPOINT", "not an address")
    with pytest.raises(HubConnectionError):
        modelrouter.pull("o/m")


def test_offline_asks_nobody(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubConnectionError, match="HF_HUB_OFFLINE is set"):
        modelrouter.pull("phi-2")
    assert hub.requests == []


@pytest.mark.parametrize("name", ["", "  ", ":Q4_0", "a/b/c", "owner/", "../../etc/passwd"])
def test_a_name_that_makes_no_sense(name: str) -> None:
    with pytest.raises(ConfigurationError):
        modelrouter.pull(name)


def test_a_model_that_is_misspelt_or_not_to_be_pulled() -> None:
    with pytest.raises(UnknownModelError, match="phi-2"):
        modelrouter.pull("phi2")
    with pytest.raises(ConfigurationError, match="hosted"):
        modelrouter.pull("openai/gpt-4o")
    with pytest.raises(ConfigurationError, match="part of this package"):
        modelrouter.pull("modelrouter/tiny-editor")


def test_a_file_of_a_strange_name_is_not_written(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    hub.add("o/strange", {"a\\..\\b.Q4_0.gguf": small})
    with pytest.raises(PullError, match="strange name"):
        modelrouter.pull("o/strange")


def test_what_the_hub_promised_may_still_be_no_model(hub: HubServer, folder: Path) -> None:
    hub.add("o/noise", {"noise.Q4_0.gguf": bytes(1000)})
    with pytest.raises(ModelFileError, match="not a GGUF"):
        modelrouter.pull("o/noise")


def test_two_pulls_of_one_file_do_not_mix(hub: HubServer, folder: Path) -> None:
    made = hub_part.plan("phi-2")

    def again(have: int, _size: int) -> None:
        if have:
            with pytest.raises(PullError, match="another process"):
                modelrouter.pull(made, "Q4_K_M")

    assert modelrouter.pull(made, "Q4_K_M", progress=again).name == "phi-2"


def test_many_pulls_of_one_file_at_once_leave_one_sound_file(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    made = hub_part.plan("phi-2")
    offer = made.choose("Q4_K_M")
    outcomes: list[str] = []

    def fetch_it() -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fetch(PHI_2, made.listing.commit, offer, made.target(offer), wait_s=0.01)
            outcomes.append("fetched")
        except BaseException as error:
            outcomes.append(type(error).__name__)

    for _ in range(10):
        threads = [threading.Thread(target=fetch_it) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert visible(folder) == ["phi-2.Q4_K_M.gguf"]
        assert made.target(offer).read_bytes() == small
        made.target(offer).unlink()
    assert set(outcomes) <= {"fetched", "PullError"}
    assert outcomes.count("fetched") >= 10


def test_what_another_process_fetched_just_now_is_not_fetched_again(
    hub: HubServer, folder: Path
) -> None:
    made = hub_part.plan("phi-2")
    offer = made.choose("Q4_K_M")
    folder.mkdir(parents=True)
    for _ in range(2):
        fetch(PHI_2, made.listing.commit, offer, made.target(offer), wait_s=0.01)
    assert len(hub.fetched()) == 2  # its beginning, and itself once


def test_the_licence_is_said(
    hub: HubServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = hub_part.plan("phi-2")
    assert (made.licence, made.listing.licence) == ("MIT", "mit")
    with caplog.at_level(logging.INFO, "modelrouter"):
        modelrouter.pull(made, "Q4_K_M")
    assert "licence: MIT" in caplog.text


def test_every_local_model_of_the_catalog_can_be_pulled() -> None:
    from modelrouter.catalog.builtin import builtin_fields

    local = {name for name, fields in builtin_fields().items() if "file" in fields}
    assert set(hub_part.pullable()) == local
    for name in local:
        found = hub_part.source(name)
        assert found.repositories
        assert found.licence == builtin_fields()[name]["licence"]
