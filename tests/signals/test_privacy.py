"""Personal data: what is found, what is not mistaken for it, and that the whole text is read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.signals import find_pii
from modelrouter.signals.privacy import LONG, PII_KINDS, UNREAD
from modelrouter.signals.privacy.plain import plain

FOUND = {
    "email": [
        "write to ann.b+c@example.co.uk.",
        "ANN@EXAMPLE.COM",
        "josé@correo.es",
        "<bob@x-y.io>",
    ],
    "phone": [
        "call +44 20 7946 0958",
        "+1 (415) 555-2671",
        "+49 (0)30 901820",
        "415-555-2671",
        "(415) 555-2671",
        "1-800-555-0199 now",
        "415.555.2671",
        "ring me on 0161 496 0000 after six",
        "06 12 34 56 78",
        "My phone: 555-0134",
        "Call 555-0134 before noon",
        "my number is 415 555 2671",
        "089/1234567",
        "phone number 07911123456",
        "tel:+14155552671",
    ],
    "credit_card": [
        "4111 1111 1111 1111",
        "card 4111111111111111 exp",
        "5500-0000-0000-0004",
        "3782 822463 10005",
        "6011111111111117",
    ],
    "iban": [
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "pay to FR14 2004 1010 0505 0001 3M02 606 PLEASE",
        "NL91ABNA0417164300.",
    ],
    "us_ssn": ["SSN 123-45-6789", "078-05-1120."],
    "national_id": [
        "CPF 390.533.447-05",
        "il codice fiscale RSSMRA85T10A562S",
        "DNI 12345678Z",
        "BSN 111222333",
        "NHS number 943 476 5870",
        "NINO: JG103759A",
        "rodné číslo 710319/2745",
    ],
    "ip_address": ["from 91.198.113.45:8080", "84.51.100.66", "2a02:908:85a3::8a2e:370:7334"],
    "api_key": [
        "sk-proj-abc123DEF456ghi789JKL",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "hf_" + "a1B2c" * 7,
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
}
NOT_PERSONAL = [
    "Please write a short product description for our new bamboo toothbrush.",
    "order 12345678",
    "Order #112-1234567-1234567",
    "on 2024-05-14 at 10:30:45",
    "14-05-2024",
    "14/05/2024 10:30",
    "version 1.2.3.4 and v10.20.30.40",
    "ISBN 978-3-16-148410-0",
    "ISBN-10 0-306-40615-2",
    "costs $1,234,567.89",
    "the years 1914 1918 1939 1945",
    "pi is 3.14159265358979",
    "12 + 45 - 8",
    "100 200 300 4000",
    "IDs 4111 1111 1111 1112",
    "icon@2x.png",
    "git@github.com:me/x.git",
    '@app.route("/x")',
    "std::vector<int>::iterator",
    "00:1A:2B:3C:4D:5E",
    "DE12 3456",
    "UUID 123e4567-e89b-12d3-a456-426614174000",
    "invoice no 123-456-7890",
    "call the function 10000000 times",
    "the phone costs 1200000 won",
    "x=0 10 20 30",
    "task-sk-learn-abcdefghijklmnopqrstuvwxyz",
    "111222333 rows",
    "BSN 111222334",
    "390.533.447-06",
    "pages 100-200-3000",
    "at 12::34 o'clock",
    "a1::b2::c3",
    "kernel 5.15.0.91",
    "kernel 5.15.0.91-generic",
    "section 10.11.12.13",
    "see section 61.11.12.13 of it",
    "Mozilla/5.0 Chrome/99.120.10.11",
    "Simplify 123-45-6789",
    "Compute 123-45-6789 and halve it",
    "415-555-2671 = what?",
    "The cell 1234567",
    "call 1234567 returned None",
    "the text 1234567 in it",
    "git@github.com",
    "git clone git@github.com:me/x.git",
    "out = a@b.sum(0)",
    "model = a@b.to(device)",
    "part no 123-45-6789",
    "Part number: 123-45-6789",
    "192.168.10.254",
    "10.1.200.3",
    "172.16.99.4",
    "169.254.1.99",
    "100.64.99.1",
    "255.255.255.0",
    "fe80::1ff:fe23:4567:890a",
    "fd12:3456:789a::1",
    "203.0.113.45 is for examples",
    "2001:db8::34 is for examples",
]
WRITTEN_OTHERWISE = {
    "credit_card": [
        "4111\u00a01111\u00a01111\u00a01111",
        "4111\u202f1111\u202f1111\u202f1111",
        "4111\u20091111\u20091111\u20091111",
        "4111\u20111111\u20111111\u20111111",
        "4111 1111\u200b 1111 1111",
        "4111\u00ad1111\u00ad1111\u00ad1111",
        "\uff14\uff11\uff11\uff11" + "\uff11" * 12,
        "\u0664\u0661\u0661\u0661" + "\u0661" * 12,
        "4111.1111.1111.1111",
        "4111  1111  1111  1111",
        "\U0001d7d2" + "\U0001d7cf" * 15,
        '{"card": "4111\\u00a01111\\u00a01111\\u00a01111"}',
        "4111&nbsp;1111&nbsp;1111&nbsp;1111",
        "4111%201111%201111%201111",
    ],
    "iban": [
        "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000",
        "DE89\u202f3704\u202f0044\u202f0532\u202f0130\u202f00",
        "\uff24\uff25\uff18\uff19 3704 0044 0532 0130 00",
        "DE89\u200b370400440532013000",
        "de89 3704 0044 0532 0130 00",
        "DE89-3704-0044-0532-0130-00",
        "DE89 3704 0044 0532 0130 00\ufeff",
    ],
    "phone": [
        "+44\u00a020\u00a07946\u00a00958",
        "+44\u202f20\u202f7946\u202f0958",
        "\uff0b44 20 7946 0958",
        "+\uff14\uff14 20 7946 0958",
        "06\u00a012\u00a034\u00a056\u00a078",
        "+44\u200d20\u200d7946\u200d0958",
        "415\u2011555\u20112671",
        "06.12.34.56.78",
        "0044 20 7946 0958",
        "(0161) 496 0000",
        '{"text": "Call:\\n+44 20 7946 0958"}',
        "tel=%2B44%2020%207946%200958",
        "\u96fb\u8a71\uff1a03-5555-7244",
        "\u96fb\u8a71\u306f+81 90-5555-7586",
    ],
    "email": [
        "jane\uff20example.com",
        "jane@\u200bexample.com",
        "jane@exam\u00adple.com",
        "jane\u2060@example.com",
        '{"to": "jane\\u0040example.com"}',
        "https://x.example/?to=jane%40example.com",
        "jane&#64;example.com",
        "\uff4a\uff41\uff4e\uff45\uff20\uff45\uff58\uff0e\uff43\uff4f\uff4d",
    ],
    "us_ssn": ["SSN 123\u201145\u20116789", "SSN\u00a0123-45-6789", "my social is 123 45 6789"],
    "ip_address": ["5.20.\u200b112.72", "\uff15.20.112.72", "\u79c1\u306e2a02:908::9a1c:1986"],
}
FILLER = "The harbour handled 13.4 million containers in 2024, at a cost of 1,200 euros each. "


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in FOUND.items() for t in texts])
def test_finds_each_kind_and_no_other(kind: str, text: str) -> None:
    assert find_pii(text) == (kind,)


@pytest.mark.parametrize(
    ("kind", "text"),
    [(k, t) for k, texts in WRITTEN_OTHERWISE.items() for t in texts],
    ids=lambda value: ascii(value),
)
def test_other_spaces_digits_and_escapes_hide_nothing(kind: str, text: str) -> None:
    assert find_pii(text) == (kind,)
    assert kind in find_pii(f"It is {text} indeed.")


def test_plain_text_is_left_alone() -> None:
    """The usual text is not rewritten, so that it costs nothing."""
    for text in ("Write a poem, in 20 lines.", "Z\u00fcrich \u2026 \u201cso\u201d", FILLER):
        assert plain(text) is text or plain(text) == text


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_ordinary_numbers_are_not_personal(text: str) -> None:
    assert find_pii(text) == ()


@pytest.mark.parametrize("kind", PII_KINDS)
@pytest.mark.parametrize("place", [0, 1_234, 5_999])
def test_a_long_text_hides_nothing(kind: str, place: int) -> None:
    filler = FILLER * 6_000
    at = place * len(FILLER)
    assert find_pii(f"{filler[:at]} {FOUND[kind][0]} {filler[at:]}") == (kind,)


def test_several_kinds_come_in_a_fixed_order() -> None:
    text = " or ".join(texts[0] for texts in reversed(FOUND.values()))
    assert find_pii(text) == PII_KINDS


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert set(find_pii(text)) <= set(PII_KINDS)


@given(
    st.text(alphabet=" \n.,;:!?abcefghjk", max_size=80),  # without "id", which tells of no phone
    st.sampled_from([(k, t) for k, texts in FOUND.items() for t in texts]),
    st.text(alphabet=" \n,;!?abcdefghij", max_size=80),
)
def test_words_around_it_do_not_hide_it(before: str, found: tuple[str, str], after: str) -> None:
    kind, text = found
    assert kind in find_pii(f"{before} {text} {after}")


def test_a_long_table_that_is_not_read_whole_counts_as_personal_data():
    """A rule that keeps personal data on this machine must not depend on where it stands."""
    table = "12.5 " * LONG
    assert find_pii(table) == (UNREAD,)
    assert find_pii(table[: LONG - 1]) == ()
    assert find_pii("Write to jane@example.com, please. " + table) == ("email", UNREAD)
    assert find_pii("The weather was fine that day. " * LONG) == ()


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "0 ", "(1", "+1", "1.", "1-", "123-", "a@", "@a.", "4111 ", "AB12 ", ":1", "sk-1",
     "1:2", "0 12 ", "_1", "eyJ1", "(123) ", "00 ", "001 ",
     "\u00a0", "\u200b1", "\uff11", "\\u0031",
     "%40", "&#64;", "&", "1  ", "de12 ", "de12-", "8 9", "06.12", "SG.", "npm_a1"],
)  # fmt: skip
def test_time_grows_with_length_and_no_faster(piece: str) -> None:
    def seconds(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        best = float("inf")
        for _ in range(3):
            start = time.thread_time()
            find_pii(text)
            best = min(best, time.thread_time() - start)
        return best

    # Eight times the text: eight times the time when linear, sixty-four when quadratic.
    assert seconds(80_000) < 30 * seconds(10_000) + 0.005


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("4111 1111 1111 1111, 17.35, 2024-05-06, 1000234\n", "credit_card"),
        ("ann.smith@example.com;1984;20;33;4711;0.25;1.75\n", "email"),
        ("row 17: +49 30 901820; 12.50; 99; 1000234; 1000235\n", "phone"),
    ],
)
def test_a_long_table_of_customers_is_seen_for_what_it_is(line: str, kind: str) -> None:
    assert find_pii(line * 10_000) == (kind, UNREAD)


NUMBERS = [
    "1",
    "4 ",
    "0",
    "a@",
    "(123",
    "012 34 ",
    "000-12-3456 ",
    "1.2.3.",
    "4111 1111 1111 1112 ",
]


@pytest.mark.parametrize("piece", NUMBERS)
def test_a_long_table_of_numbers_costs_little(piece: str) -> None:
    text = (piece * 500_000)[:500_000]
    start = time.thread_time()
    assert find_pii(text) == (UNREAD,)
    # A few milliseconds; without a bound it was up to eight hundred.
    assert time.thread_time() - start < 0.05


@pytest.mark.parametrize(
    "piece",
    [
        "the word and another of them came to 12345678 ",
        "ABCDEFGHIJ KLMNOP QRSTUV DE12 ",
        "so many words here that say little 0123 456 789 ",
        "so many words here that say little 123-456-7890 ",
        "my words before a number, product AB123456Z ",
        "and more of the words before it 123456/7891 ",
        "and more of the words before de12 abcd efgh ijkl mnop ",
        "and more of the words to come 0044 20 7946 0 and more ",
        "the words before 8.8.200.8 and those behind it, too ",
        "words \u00a0 and \u2011 and \uff11 and \u200b and others as well ",
    ],
)
def test_a_long_text_of_look_alikes_costs_little(piece: str) -> None:
    find_pii("+44 20 7946 0958, 0161 496 0000, DE89 3704 0044 0532 0130 00")  # the libraries
    text = (piece * 20_000)[:500_000]
    start = time.thread_time()
    find_pii(text)
    # A tenth of a second or two; where each was checked by the libraries it was three.
    assert time.thread_time() - start < 1.0
