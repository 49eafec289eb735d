"""What a broken or hostile hub may say of a repository: a typed error, or a pull that is right."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modelrouter
from modelrouter import hub as hub_part
from modelrouter.exceptions import HubConnectionError, ModelRouterError, PullError
from tests.support.hub_server import HubServer

SHA = "0123456789abcdef" * 4
LISTING: dict[str, Any] = {
    "id": "o/m",
    "sha": "0123456789abcdef0123456789abcdef01234567",
    "gated": False,
    "tags": ["gguf", "license:mit"],
    "cardData": {"license": "mit"},
    "siblings": [
        {
            "rfilename": "m.Q4_0.gguf",
            "size": 1_000,
            "blobId": SHA[:40],
            "lfs": {"sha256": SHA, "size": 1_000, "pointerSize": 135},
        },
        {"rfilename": "m.Q8_0.gguf", "size": 2_000, "blobId": SHA[:40]},
    ],
}
VALUES: list[Any] = [
    None, 0, -1, 1.5, 10**400, float("nan"), True, "", "x", "\ud800", "\0", "a/../../b.gguf",
    "x" * 5_000 + ".gguf", [], {}, [None], ["x"], {"license": ["a"]},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    whole = copy.deepcopy(LISTING)
    part: Any = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = new
    return whole


@pytest.mark.parametrize("path", list(places(LISTING)), ids=str)
def test_no_listing_makes_anything_but_a_typed_error(
    hub: HubServer, folder: Path, path: tuple[Any, ...]
) -> None:
    for value in VALUES:
        hub.told = (200, json.dumps(changed(path, value)).encode())
        try:
            made = hub_part.plan("o/m")
            assert str(made.licence)
            for offer in made.offers:
                made.target(offer)
        except ModelRouterError:
            pass  # in words; anything else fails the test


@pytest.mark.parametrize(
    "fields",
    [
        {"sha": -1},
        {"sha": "\ud800"},
        {"siblings": [{"rfilename": None}]},
        {"siblings": [{"rfilename": "m.gguf", "lfs": {"sha256": SHA, "size": None}}]},
        {"siblings": [{"rfilename": "m.gguf", "lfs": {"sha256": SHA, "size": 10**39}}]},
        {"siblings": [{"rfilename": "m.gguf", "lfs": {"sha256": -1, "size": 1}}]},
        {"siblings": [{"rfilename": "m.gguf", "lfs": {"sha256": "../" * 21 + "x", "size": 1}}]},
    ],
    ids=str,
)
def test_a_listing_that_says_what_cannot_be_is_no_hubs(
    hub: HubServer, folder: Path, fields: dict[str, Any]
) -> None:
    hub.told = (200, json.dumps({**LISTING, **fields}).encode())
    with pytest.raises(HubConnectionError, match="not the hub's protocol"):
        hub_part.plan("o/m")


def test_a_card_that_is_no_card_hides_nothing_else(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    for value in (-1, "mit", ["mit"], [[]]):
        hub.told = (200, json.dumps({**LISTING, "cardData": value}).encode())
        with pytest.raises(modelrouter.ModelRouterError):  # of the listing, not of the card
            hub_part.plan("o/m:none").choose()


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"9" * 5_000, b'"x"'],
    ids=lambda body: str(body[:6]),
)
def test_no_body_makes_anything_but_a_typed_error(
    hub: HubServer, folder: Path, status: int, body: bytes
) -> None:
    hub.told = (status, body)
    with pytest.raises(PullError):
        hub_part.plan("o/m")


def test_a_name_too_long_for_a_file_is_a_typed_error(
    hub: HubServer, folder: Path, small: bytes
) -> None:
    hub.add("o/long", {"x" * 400 + ".gguf": small})
    with pytest.raises(PullError, match="cannot be written"):
        modelrouter.pull("o/long")
