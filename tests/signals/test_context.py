"""Context tokens: estimated within the stated error, counted where a tokenizer is at hand."""

# Letters and marks of other scripts are meant where they stand.
# ruff: noqa: RUF001

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.signals import detect_language
from modelrouter.signals.context import (
    ESTIMATE_ERROR,
    EXACT_CHARACTERS,
    IMAGE_TOKENS,
    OTHER_SCRIPTS_ERROR,
    UNKNOWN_LANGUAGE_ERROR,
    count,
    estimate_error,
    estimate_tokens,
)
from modelrouter.task import Kind, Task

PROSE = (
    "The harbour of Rotterdam handled thirteen million containers last year, slightly less than "
    "the year before. The port authority blames weak demand and the low water of the Rhine in "
    "late summer. Investments continue all the same: a new terminal should open soon. "
)
CODE = Path(__file__).read_text("utf-8")
JSON = json.dumps(
    [{"id": i, "name": f"item {i}", "price": i * 1.25, "tags": ["a", "b"]} for i in range(40)]
)
CHINESE = (
    # The marks are the full-width ones that Chinese is written with.
    "鹿特丹港去年处理了一千三百万个集装箱，比前一年略少。港务局认为原因是需求疲软和夏末莱茵河水位低。"
    "投资仍在继续：新的码头即将启用，第三期扩建也已获批。工会警告说，自动化将使约九百人失业。"
)
JAPANESE = (
    "ロッテルダム港は昨年、一千三百万個のコンテナを取り扱ったが、前年よりわずかに減少した。"
    "港湾局は需要の低迷と夏の終わりのライン川の水位低下を原因に挙げている。"
)
GERMAN = (
    "Der Hafen hat im letzten Jahr etwas weniger Container umgeschlagen als im Jahr davor. Die "
    "Behörde nennt die schwache Nachfrage und das niedrige Wasser im Spätsommer als Gründe. "
)
FOREIGN = {
    "nl": (
        "De haven van Rotterdam heeft vorig jaar iets minder containers overgeslagen dan het "
        "jaar daarvoor. Het havenbedrijf noemt de zwakke vraag en het lage water in de "
        "nazomer als oorzaak. De investeringen gaan desondanks door: een nieuwe terminal moet "
        "binnenkort opengaan, en de derde fase van de uitbreiding is goedgekeurd. Vakbonden "
        "waarschuwen dat automatisering ongeveer negenhonderd banen zal kosten. "
    ),
    "fi": (
        "Satama kasitteli viime vuonna hieman vahemman kontteja kuin edellisena vuonna. "
        "Viranomaisten mukaan syyna ovat heikko kysynta ja loppukesan matala vesi. "
        "Investoinnit jatkuvat kuitenkin: uusi terminaali avataan pian, ja laajennuksen "
        "kolmas vaihe on hyvaksytty. Ammattiliitot varoittavat, etta automaatio maksaa noin "
        "yhdeksansataa tyopaikkaa kaupungin satamassa. "
    ),
    "es": (
        "El puerto manejo algo menos de contenedores que el ano anterior. La autoridad culpa "
        "a la demanda debil y al bajo nivel del agua a finales del verano. Las inversiones "
        "continuan de todos modos: una nueva terminal debe abrir pronto y la tercera fase de "
        "la ampliacion ha sido aprobada. "
    ),
    "it": (
        "Il porto ha movimentato l'anno scorso un po' meno container rispetto all'anno "
        "precedente. L'autorita portuale indica come cause la domanda debole e il basso "
        "livello dell'acqua a fine estate. Gli investimenti continuano comunque: un nuovo "
        "terminal dovrebbe aprire presto e la terza fase dell'ampliamento e stata approvata. "
    ),
    "sv": (
        "Hamnen hanterade under forra aret nagot farre containrar an aret innan. Myndigheten "
        "anger svag efterfragan och lagt vatten under sensommaren som orsaker. "
        "Investeringarna fortsatter anda: en ny terminal ska snart invigas, och den tredje "
        "etappen av utbyggnaden har godkants av kommunen. "
    ),
    "id": (
        "Pelabuhan itu menangani sedikit lebih sedikit peti kemas dibandingkan tahun "
        "sebelumnya. Pihak berwenang menyalahkan permintaan yang lemah dan rendahnya "
        "permukaan air pada akhir musim panas. Investasi tetap berlanjut: terminal baru akan "
        "segera dibuka dan tahap ketiga perluasan telah disetujui. "
    ),
    "sw": (
        "Bandari ilishughulikia kontena chache kidogo kuliko mwaka uliopita. Mamlaka inalaumu "
        "mahitaji dhaifu na kina cha chini cha maji mwishoni mwa majira ya joto. Uwekezaji "
        "unaendelea hata hivyo: kituo kipya kitafunguliwa hivi karibuni na awamu ya tatu ya "
        "upanuzi imeidhinishwa. "
    ),
}
"""The same report in ASCII letters of other languages."""
Encoder = Callable[[str], int]


@pytest.fixture(scope="session", params=["cl100k_base", "o200k_base"])
def exact(request: pytest.FixtureRequest) -> Encoder:
    """A real vocabulary, from the files that litellm's package holds; nothing is downloaded."""
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0], "litellm_core_utils", "tokenizers")
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        import tiktoken

        encoding = tiktoken.get_encoding(request.param)
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
    return lambda text: len(encoding.encode(text, disallowed_special=()))


class TestEstimate:
    @pytest.mark.parametrize("text", [PROSE, CODE, JSON, GERMAN], ids="prose code json de".split())
    def test_keeps_within_the_stated_error(self, text: str, exact: Encoder) -> None:
        assert abs(estimate_tokens(text) / exact(text) - 1) <= ESTIMATE_ERROR

    @pytest.mark.parametrize("name", FOREIGN)
    def test_other_languages_in_ascii_keep_within_theirs(self, name: str, exact: Encoder) -> None:
        text = FOREIGN[name]
        language = detect_language(text)
        margin = estimate_error(text, language)
        assert margin <= UNKNOWN_LANGUAGE_ERROR
        assert abs(exact(text) / estimate_tokens(text, language) - 1) <= margin
        counted = count(Task.of(text), "chat", language=language)
        assert counted.prompt * (1 + counted.error) >= exact(text)

    @pytest.mark.parametrize("text", [CHINESE, JAPANESE], ids=["zh", "ja"])
    def test_other_scripts_keep_within_theirs(self, text: str, exact: Encoder) -> None:
        assert abs(estimate_tokens(text) / exact(text) - 1) <= estimate_error(text)
        assert ESTIMATE_ERROR < estimate_error(text) <= OTHER_SCRIPTS_ERROR

    def test_a_long_text_is_counted_in_windows_and_still_right(self, exact: Encoder) -> None:
        long = (PROSE * 20 + CODE) * 40
        assert len(long) > 200_000
        assert abs(estimate_tokens(long) / exact(long) - 1) <= ESTIMATE_ERROR

    def test_the_empty_text_takes_none(self) -> None:
        assert estimate_tokens("") == 0

    @given(st.text(min_size=1))
    def test_any_text_takes_some(self, text: str) -> None:
        assert 1 <= estimate_tokens(text) <= 4 * len(text) + 1

    @given(st.text(), st.text())
    def test_more_text_takes_no_fewer(self, text: str, more: str) -> None:
        # Pairing of spaces across the seam may save a token.
        assert estimate_tokens(text + more) >= estimate_tokens(text) - 1

    def test_a_lone_surrogate_is_no_error(self) -> None:
        assert estimate_tokens("\ud800") >= 1


class TestCount:
    def test_counts_with_the_tokenizer_where_there_is_one(self) -> None:
        task = Task.of("one two three")
        counted = count(task, "chat", lambda text: len(text.split()))
        assert counted.error == 0.0
        assert counted.prompt == 3 + 4 + 3  # words, the message's frame, the reply's

    def test_estimates_where_the_text_is_long(self) -> None:
        def never(text: str) -> int:
            raise AssertionError(text[:20])

        task = Task.of("a " * EXACT_CHARACTERS)
        assert count(task, "chat", never).error == ESTIMATE_ERROR

    def test_an_image_is_never_exact(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}}
        task = Task.of([{"role": "user", "content": [{"type": "text", "text": "hi"}, image]}])
        counted = count(task, "image_understanding", len)
        assert counted.prompt >= IMAGE_TOKENS
        assert counted.error > 0.0

    def test_tools_schemas_and_calls_count(self) -> None:
        tool: dict[str, Any] = {
            "type": "function",
            "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
        }
        plain = count(Task.of("hi"), "chat", None).prompt
        assert count(Task.of("hi", tools=[tool]), "chat", None).prompt > plain + 10
        schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
        assert count(Task.of("hi", response_format=schema), "chat", None).prompt > plain + 10
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}" * 50}}
        turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]
        assert count(Task.of(turns), "chat", None).prompt > plain + 50

    def test_the_system_prompt_is_told_apart(self) -> None:
        turns = [{"role": "system", "content": PROSE}, {"role": "user", "content": "hi"}]
        counted = count(Task.of(turns), "chat", None)
        assert counted.system == estimate_tokens(PROSE)
        assert count(Task.of("hi"), "chat", None).system == 0

    @pytest.mark.parametrize(
        ("kind", "text", "least", "most"),
        [
            ("grammar", f"Fix the grammar: {PROSE}", 40, 80),
            ("summarization", f"Summarize: {PROSE * 20}", 100, 400),
            ("completion", "The cat sat on the", 20, 40),
            ("code", "Write a function.", 300, 600),
            ("creative_writing", "Write an essay of 2000 words about sleep.", 2_500, 3_000),
            ("embedding", "Embed this: cats", 0, 0),
        ],
    )
    def test_the_expected_answer_fits_the_kind(
        self, kind: Kind, text: str, least: int, most: int
    ) -> None:
        assert least <= count(Task.of(text), kind, None).output <= most

    def test_max_tokens_bounds_the_expected_answer(self) -> None:
        assert count(Task.of("Write a poem.", max_tokens=20), "creative_writing", None).output == 20
        assert count(Task.of("hi", max_tokens=9_000), "chat", None).output < 9_000
