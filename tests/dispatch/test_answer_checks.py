"""Answers that are none: what is noticed, what is not held against an answer, who is asked next."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from modelrouter import AnswerRejectedError, Cache, Catalog, Policy, RetryPolicy, Router
from modelrouter.catalog import discover
from modelrouter.dispatch.answer_checks import Asked, no_answer, payload_of
from modelrouter.signals.language import detect_language
from modelrouter.testing import EchoBackend, FunctionBackend, example_card

ANSWERS = Path(__file__).parents[1] / "data" / "answers.jsonl"
SMALL = example_card("acme/small", general_strength=0.8, price={"input": 1e-6, "output": 1e-6})
LARGE = example_card("acme/large", general_strength=0.95, price={"input": 1e-3, "output": 1e-3})
GRAMMAR = "Fix the grammar: She go to school every days."


def why(prompt, answer, kind="chat", *, context="", stopped=True) -> str:
    asked = Asked(prompt, kind, payload_of(prompt), context, detect_language(prompt))
    return no_answer(answer, asked, stopped=stopped)


@pytest.mark.parametrize("answer", ["", " \n", "...", "```\n```", "**"])
def test_an_answer_without_a_letter_is_empty(answer):
    assert "the answer is" in why("Why is the sky blue?", answer)


@pytest.mark.parametrize("answer", ["7", "👍", "=", "是", "€", "->"])
def test_a_single_sign_may_be_an_answer(answer):
    assert why("Which of them?", answer) == ""


@pytest.mark.parametrize(
    "answer",
    [
        "I am glad to help. " * 8,
        "las " * 30,
        "コ" * 40,
        "天气很好啊" * 12,
        "Fisher" * 20,
        "2023-01-22 " * 10,
        "It is so. The joke is meant to be taken literally, and no more than that. " * 5,
        "A list:\n" + "".join(f"{n}. Bring the same old umbrella with you.\n" for n in range(9)),
        "ok" + "\N{FULLWIDTH SEMICOLON}" * 30,
        "To begin:\n" + "-\n" * 30,
        "दिल्ली की बात है, " * 8,
    ],
)
def test_a_loop_of_words_or_characters_is_noticed_in_any_script(answer):
    assert "repeats" in why("Tell me something about it.", answer, stopped=False)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("chat", "Ha ha ha ha ha, that is a good one!"),
        ("chat", "Nooooooooo!"),
        ("creative_writing", "Row, row, row your boat, gently down the stream. " * 2),
        ("creative_writing", "\n".join(f"I have a dream that {w} will rise." for w in
         "men women children cities rivers hills valleys streets houses fields".split())),
        ("code", "```python\nGRID = [\n" + "    [0, 0, 0, 0],\n" * 6 + "]\n```"),
        ("math", "1/3 = 0.33333333333333333333333333"),
        ("chat", "Title\n" + "-" * 60),
        ("chat", "1. Monday: rest\n2. Tuesday: rest\n3. Wednesday: swim\n4. Thursday: rest"),
    ],
)  # fmt: skip
def test_what_people_repeat_on_purpose_is_no_loop(kind, answer):
    assert why("Tell me something about it.", answer, kind) == ""


@pytest.mark.parametrize(
    ("prompt", "answer", "kind"),
    [
        ("what's the chance of rain, and how sure are you?",
         "What's the chance of rain, and how sure are you?", "question_answering"),
        (GRAMMAR, "Fix the grammar: She goes to school every day.", "grammar"),
        ("Native check please. With this car you drives more cheap than before.",
         "Native check please. With this car you drive cheaper than before.", "grammar"),
        ("Correct this sentence.\nHe don't know it, and she don't neither.",
         "Correct this sentence. He doesn't know it, and she doesn't either.", "grammar"),
        ("Write an open letter from a river to the town that straightened it.",
         "An open letter from a river to the town that straightened it.", "creative_writing"),
        ("Generate ideas for a school project.\n\nYear 5, the Romans, no glue allowed",
         "Generate ideas for a school project.", "creative_writing"),
        ("Summarise this:\nThe choir meets on Tuesday at seven. New singers are welcome.",
         "The choir meets on Tuesday at seven. New singers are welcome.", "summarization"),
    ],
)  # fmt: skip
def test_the_prompt_or_its_instruction_that_comes_back_is_noticed(prompt, answer, kind):
    assert "prompt" in (said := why(prompt, answer, kind)) or "given" in said or "instr" in said


@pytest.mark.parametrize(
    ("prompt", "answer", "kind"),
    [
        (GRAMMAR, "She goes to school every day.", "grammar"),
        ("Fix the grammar: She goes to school every day.", "She goes to school every day.",
         "grammar"),  # there was nothing to correct
        (GRAMMAR, "Corrected sentence: She goes to school every day.", "grammar"),
        ("What's 15 squared minus 12 squared?", "15 squared minus 12 squared is 81.", "math"),
        ("What's 15 squared minus 12 squared?", "What's 15 squared minus 12 squared? 81.", "math"),
        ("To be or not to", "To be or not to be", "completion"),
        ("Good night!", "Good night!", "chat"),
        ("Which is right, tea or coffee?", "tea", "classification"),
        ("Make a list: towel, sun cream, hat", "- towel\n- sun cream\n- hat", "extraction"),
        ("Correct the following sentence and reply with only the corrected text.\n\nHe dint go.",
         "He didn't go.", "grammar"),
    ],
)  # fmt: skip
def test_an_answer_may_have_the_prompts_words(prompt, answer, kind):
    assert why(prompt, answer, kind) == ""


def test_of_a_kind_that_was_only_read_a_corrected_text_is_no_echo():
    prompt = (
        "Check the commas. The contract which was signed in May expires on Friday unless, both."
    )
    answer = "The contract which was signed in May expires on Friday unless, both."
    asked = Asked(prompt, "chat", "", "", "en", certain=False)
    assert no_answer(answer, asked) == ""
    assert no_answer(prompt, asked) == "the answer is the prompt again"


def test_an_announcement_without_what_was_announced_is_cut():
    assert "ends with" in why("Tell me a tale of a fox.", "Sure! Here is the tale:")
    assert "ends with" in why("Write an e-mail to dad", "Hi Dad,", "creative_writing")
    assert why("Tell me a tale of a fox.", "Sure! Here is the tale:", stopped=False) == ""
    text = "Please proofread: you can see it by this commands:"
    assert why(text, "You can see it by these commands:", "grammar") == ""


@pytest.mark.parametrize(
    ("prompt", "answer", "kind"),
    [
        ("Explain to me why the sky is blue and the sunset red.",
         "Der Himmel ist blau, weil das Licht an den Teilchen der Luft gestreut wird, und das "
         "blaue Licht wird mehr gestreut als das rote.", "question_answering"),
        ("Почему небо голубое, скажи мне, пожалуйста, я этого не знаю.",
         "The sky is blue because the light is scattered by the air, and blue light is scattered "
         "more than red light is.", "question_answering"),
        ("Translate this into Swedish: The house has no electricity, but there is a sauna.",
         "The house has no electricity, but there is a sauna.", "translation"),
        ("Was steht hier? Kurz auf Deutsch: Participants were randomly assigned to eight weeks of "
         "guided walking or to no walking at all.",
         "The people in the study walked for eight weeks or they did not walk at all, and it was "
         "not clear what it did for them.", "summarization"),
    ],
)  # fmt: skip
def test_another_language_than_asked_for_is_noticed_where_it_is_sure(prompt, answer, kind):
    assert "the answer is in" in why(prompt, answer, kind)


@pytest.mark.parametrize(
    ("prompt", "answer", "kind"),
    [
        ("How do you say good morning to an older man in French?",
         "Bonjour monsieur, comment allez-vous ce matin ? Je vous souhaite une bonne journée.",
         "question_answering"),
        ("Translate this French text: Je suis allé au marché avec ma mère et mon frère.",
         "I went to the market with my mother and my brother.", "translation"),
        ('How do I say "see you at the station tomorrow" in Spanish?',
         'You would say "nos vemos mañana en la estación", which is what friends say to each '
         "other in most places.", "translation"),
        ("Wypisz alergeny: Ingredients: oats, honey, almonds, milk powder and sunflower oil.",
         "The allergens that are named in this text are oats, almonds and the milk powder.",
         "extraction"),
    ],
)  # fmt: skip
def test_another_language_is_right_where_the_prompt_speaks_of_it(prompt, answer, kind):
    assert why(prompt, answer, kind) == ""


def test_a_corrected_text_is_about_as_long_as_the_text_given():
    given = "We was waiting for the bus since two hours, and then we have went home by foot."
    assert "shorter" in why(f"Fix the grammar: {given}", "We waited for the bus.", "grammar")
    assert why(f"Fix the grammar: {given}", given, "grammar") == ""
    tale = (
        "Wir haben auf den Bus gewartet. Es war kalt, der Mond schien auf die Stadt herab, und "
        "keiner sprach ein Wort. Später lasen wir noch ein Buch über die Geschichte der Bahnen "
        "im Westen des Landes, das uns der Vater geschenkt hatte, als wir noch klein waren. Am "
        "Morgen gingen wir zur Schule, wo der Lehrer fragte, ob wir denn gelernt hätten. Wir "
        "sagten nein, und er war böse. So ging der Tag hin, und es kam der Abend, an dem keiner "
        "mehr an die Tante dachte, die im Dorf hinter den Bergen ihren Garten hat. Dort wachsen "
        "Äpfel, Birnen und Pflaumen, die sie im Herbst auf den Markt bringt. Manchmal schickt "
        "sie uns einen Korb davon, und dann backt die Mutter einen Kuchen, den alle loben. Nur "
        "der Großvater mag ihn nicht, weil ihm die Zähne fehlen, und er isst lieber Suppe. "
        "Am Abend saßen wir am Ofen und hörten zu, wie der Wind um das alte Haus ging."
    )
    assert "longer" in why(f"Translate into German: {given}", tale, "translation")


def test_without_a_sure_kind_only_what_holds_for_all_kinds_is_noticed():
    assert why(GRAMMAR, "She goes.", None) == ""
    assert "repeats" in why(GRAMMAR, "She goes to school. " * 9, None)


# ── measured on answers of real models, labelled by reading them


def test_real_answers_are_told_apart_as_people_do():
    found, of, alarms, fine = Counter(), Counter(), [], 0
    for line in ANSWERS.read_text("utf-8").splitlines():
        row = json.loads(line)
        *before, last = row["messages"]
        context = "\n".join(message["content"] for message in before)
        said = why(last["content"], row["answer"], row["kind"], context=context,
                   stopped=row["finish_reason"] == "stop")  # fmt: skip
        label = row["label"].split(",")[0]
        if label in ("ok", "poor"):
            fine += 1
            alarms += [(last["content"], row["answer"], said)] if said else []
        else:
            of[label] += 1
            found[label] += bool(said)
    assert len(alarms) <= 0.01 * fine, alarms
    assert fine > 100
    least = {"loop": 0.75, "echo": 0.65, "language": 0.4}
    assert {k: found[k] / of[k] for k in least if found[k] < least[k] * of[k]} == {}


# ── in a call


def test_the_bundled_editor_that_repeats_an_instruction_is_not_the_last_word():
    """What the real model says to this: the whole of it again, instruction and all."""
    prompt = "make this sound native: I have 29 years and I live in Lisbon since always."
    editor = discover({}).catalog.get("modelrouter/tiny-editor")
    fluent = "I am 29 and have always lived in Lisbon."
    with Router(
        catalog=Catalog((editor, LARGE)),
        backends={"test": FunctionBackend(lambda request: fluent)},
        policy=Policy.cheapest(),
    ) as router:
        reply = router.completion(prompt, kind="grammar")
    first, second = reply.trace.attempts
    assert (first.model, first.outcome) == (editor.name, "rejected")
    assert "instruction" in first.error
    assert (second.outcome, reply.text) == ("answered", fluent)


def router_over(answers: dict[str, str], **options) -> tuple[Router, FunctionBackend]:
    backend = FunctionBackend(lambda request: answers[request.card.name.rpartition("/")[2]])
    router = Router(
        catalog=Catalog((SMALL, LARGE)),
        backends={"test": backend},
        **{"retry": RetryPolicy(max_attempts=1), "policy": Policy.cheapest(), **options},
    )
    return router, backend


@pytest.mark.parametrize("bad", ["", "Fix the grammar: She goes to school.", "school " * 60])
def test_what_is_no_answer_goes_to_the_next_model_and_the_trace_says_why(bad):
    router, _ = router_over({"small": bad, "large": "She goes to school every day."})
    reply = router.completion(GRAMMAR, kind="grammar")
    assert reply.text == "She goes to school every day."
    assert [a.outcome for a in reply.trace.attempts] == ["rejected", "answered"]
    assert reply.trace.attempts[0].error.startswith("the answer")


def test_where_nobody_answers_the_least_empty_answer_is_returned_and_marked():
    router, _ = router_over({"small": "", "large": "school " * 60})
    reply = router.completion(GRAMMAR, kind="grammar")
    assert reply.text == "school " * 60
    assert [a.outcome for a in reply.trace.attempts] == ["rejected", "rejected"]
    assert "repeats" in reply.trace.attempts[-1].error


def test_what_the_users_check_refuses_is_not_returned_for_want_of_an_answer():
    policy = Policy.cheapest(accept=lambda reply: "bus" in reply.text)
    router, _ = router_over({"small": "", "large": "school " * 60}, policy=policy)
    with pytest.raises(AnswerRejectedError, match="none of 2 answers"):
        router.completion(GRAMMAR, kind="grammar")


def test_an_answer_in_json_or_with_calls_is_judged_by_its_form_alone():
    _, backend = router_over({"small": "{}", "large": "no"})
    form = {"type": "json_object"}
    card = SMALL.model_copy(update={"capabilities": frozenset({"json_schema"})})
    only = Router(catalog=Catalog([card]), backends={"test": backend}, policy=Policy.cheapest())
    (attempt,) = only.completion("Give me an empty object.", response_format=form).trace.attempts
    assert attempt.outcome == "answered"


def test_the_echo_backend_of_the_tests_is_not_held_to_be_no_answer():
    with Router(catalog=Catalog([SMALL]), backends={"test": EchoBackend()}) as router:
        (attempt,) = router.completion("Why is the sky so blue today?").trace.attempts
    assert attempt.outcome == "answered"


def test_the_check_can_be_turned_off():
    policy = Policy.cheapest(check_answers=False)
    router, backend = router_over({"small": "school " * 60, "large": "no"}, policy=policy)
    assert router.completion(GRAMMAR).trace.attempts[-1].outcome == "answered"
    assert len(backend.requests) == 1


def test_one_good_answer_of_several_is_enough():
    router, backend = router_over({"small": "She goes to school every day.", "large": "no"})
    reply = router.completion(GRAMMAR, n=2)
    assert reply.trace.attempts[-1].outcome == "answered"
    assert len(backend.requests) == 1


def test_a_stream_without_a_word_falls_back_unseen():
    router, _ = router_over({"small": " ", "large": "She goes to school every day."})
    stream = router.completion(GRAMMAR, stream=True)
    assert "".join(chunk.text for chunk in stream) == "She goes to school every day."
    assert [a.outcome for a in stream.trace.attempts] == ["rejected", "answered"]


def test_a_loop_in_a_stream_is_shown_to_its_end_and_marked_and_not_cached(tmp_path):
    router, backend = router_over(
        {"small": "school is on. " * 60, "large": "no"}, cache=Cache(tmp_path / "c")
    )
    for _ in range(2):
        stream = router.completion(GRAMMAR, stream=True)
        assert "".join(chunk.text for chunk in stream) == "school is on. " * 60
        (attempt,) = stream.trace.attempts
        assert (attempt.outcome, "repeats" in attempt.error) == ("rejected", True)
    assert len(backend.requests) == 2  # asked anew: it was not kept
    router.close()
