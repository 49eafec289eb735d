"""The bytes of a picture that a model drew: decoded, or fetched from where it was put."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from modelrouter.exceptions import APIConnectionError, MalformedResponseError
from modelrouter.images.formats import read_header

__all__ = ["picture_of"]

_MOST: Final = 100 * 1024 * 1024


def picture_of(b64_json: str | None, url: str | None, timeout_s: float) -> bytes:
    """The picture's file.

    Raises:
        MalformedResponseError: it is not a picture.
        APIConnectionError: it cannot be fetched.
    """
    if b64_json:
        try:
            data = base64.b64decode(b64_json)
        except (binascii.Error, ValueError) as exc:
            raise MalformedResponseError(f"The picture is not base64: {exc}.") from exc
    else:
        data = _fetched(url or "", timeout_s)
    try:
        read_header(data)
    except ValueError as exc:
        raise MalformedResponseError(f"What was drawn {exc}.") from exc
    return data


def _fetched(url: str, timeout_s: float) -> bytes:
    import http.client
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        """A redirect is an error: where a provider says that the picture is, it is."""

        def redirect_request(self, *_: object) -> None:
            return None

    if not url.startswith(("http://", "https://")):
        raise MalformedResponseError(f"The picture's address {url[:60]!r} is not a web address.")
    try:
        with urllib.request.build_opener(Stay).open(url, timeout=timeout_s) as answer:
            data: bytes = answer.read(_MOST + 1)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise APIConnectionError(
            f"The picture cannot be fetched: {exc}.",
            hint="Addresses of pictures expire, after an hour at OpenAI; ask for b64_json.",
        ) from exc
    if len(data) > _MOST:
        raise MalformedResponseError(f"The picture has more than {_MOST:,} bytes.")
    return data
