"""Which language the material is in."""

# Letters and marks of other scripts are meant where they stand.
# ruff: noqa: RUF001

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.signals import detect_language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("hi", "en"),
        ("ok", "en"),
        ("Thanks!", "en"),
        ("She go to school", "en"),
        ("I recieved the pacakge yesterday", "en"),
        ("Their going to the beach tommorow", "en"),
        ("What is 17 * 23?", "en"),
        ("Hola, ¿qué tal?", "es"),
        ("Me gusta el café por la mañana.", "es"),
        ("Bonjour", "fr"),
        ("Je suis allé au marché hier.", "fr"),
        ("Guten Morgen", "de"),
        ("Der Zug hat leider Verspätung.", "de"),
        ("Buongiorno, come stai oggi?", "it"),
        ("Muito obrigado pela ajuda", "pt"),
        ("Een hond loopt in het park", "nl"),
        ("Он не знает, что делать", "ru"),
        ("Він не знає, що робити", "uk"),
        ("你好吗", "zh"),
        ("今日はとても暑いですね。", "ja"),
        ("안녕하세요", "ko"),
        ("مرحبا كيف حالك", "ar"),
        ("שלום", "he"),
        ("नमस्ते", "hi"),
        ("Γεια σου", "el"),
        ("สวัสดี", "th"),
    ],
)  # fmt: skip
def test_tells_languages_apart(text: str, code: str) -> None:
    assert detect_language(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Fix the grammar: Sie gehen zur Schule", "de"),
        ("Fix the grammar: She go to school every days.", "en"),
        ("Corrige la gramática: She go to school.", "en"),
        ("Translate to English: 今日はとても暑いですね。", "ja"),
        ('Translate "Wo ist der Bahnhof, bitte?" to English', "de"),
        ("Je suis allé au marché hier.\n\nCorrect the mistakes.", "fr"),
        ("Ich bin gehen nach Hause. Fix the grammar.", "de"),
        ("proofread: Een hond loopt in het park", "nl"),
    ],
)
def test_judges_the_material_not_the_instruction(text: str, code: str) -> None:
    assert detect_language(text) == code


@pytest.mark.parametrize("text", ["", "   ", "12 + 45 - 8", "asdf qwer", "?!", "Xq7 zzkp"])
def test_says_when_there_is_too_little_to_go_by(text: str) -> None:
    assert detect_language(text) == "und"


@pytest.mark.parametrize(
    "text",
    ["Nie wiem, czy się uda, ale spróbuję to zrobić.", "Jag vet inte vad det är för något."],
)
def test_an_unknown_language_is_not_passed_off_as_a_known_one(text: str) -> None:
    assert detect_language(text) == "und"


@given(st.text())
def test_any_text_gets_a_code(text: str) -> None:
    assert detect_language(text) in {
        "en", "es", "fr", "de", "it", "pt", "nl", "ru", "uk", "zh", "ja", "ko", "ar", "he", "hi",
        "el", "th", "und",
    }  # fmt: skip
