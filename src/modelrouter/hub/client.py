"""Talks to the hub, and translates what goes wrong there; the only importer of huggingface_hub.

``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what they mean to huggingface_hub, and are
looked at when a call is made. Files come over plain HTTP from the endpoint and where it
redirects: chunk stores have protocols of their own, which neither go on after a break nor
through a mirror. ``HfApi`` is not used, because it asks huggingface.co, whatever the endpoint, for
a list by which it tells what program runs it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, Field, field_validator

from modelrouter.exceptions import GatedModelError, HubConnectionError, NotOnHubError

if TYPE_CHECKING:
    import httpx2

__all__ = ["Listing", "RemoteFile", "beginning", "listing", "opened"]

_DEFAULT_ENDPOINT: Final = "https://huggingface.co"
_CONNECT_S: Final = 10.0
_READ_S: Final = 60.0
_TRUE: Final = ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository, as the hub describes it."""

    path: str
    size_bytes: int
    sha256: str | None
    blob_id: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit.

    Attributes:
        repository: as ``owner/name``.
        commit: what is asked for from now on, so that nothing changes under a pull.
        licence: the hub's tag, for example ``mit``.
        gated: whether its makers want their terms accepted first.
        files: all of them.
    """

    repository: str
    commit: str
    licence: str | None
    gated: bool
    files: tuple[RemoteFile, ...]


_Sum: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")]
_Bytes: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 62, strict=True)]


class _Lfs(BaseModel):
    sha256: _Sum
    size: _Bytes


class _Sibling(BaseModel):
    rfilename: Annotated[str, Field(min_length=1, max_length=4_096)]
    size: _Bytes | None = None
    blobId: _Sum | None = None
    lfs: _Lfs | None = None


class _Info(BaseModel):
    """What is used of the hub's description of a repository; the rest may be anything."""

    sha: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    siblings: list[_Sibling] = []
    gated: Any = False
    tags: Any = None
    cardData: Any = None

    @field_validator("siblings", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return [] if value is None else value


def endpoint() -> str:
    """Where the hub is: ``$HF_ENDPOINT``, or huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or _DEFAULT_ENDPOINT


def listing(repository: str) -> Listing:
    """Ask what a repository has.

    Raises:
        NotOnHubError, GatedModelError, HubConnectionError: see :func:`_translated`.
    """
    with _translated(repository):
        from huggingface_hub import get_session

        response = get_session().get(
            f"{endpoint()}/api/models/{repository}",
            params={"blobs": True},
            headers=_authorization(),
            timeout=_CONNECT_S,
        )
        _raise_for_status(response)
    try:
        info = _Info.model_validate_json(response.content)
    except ValueError as exc:  # pydantic's: no JSON, nested too deeply, or not what the hub says
        raise _no_hub() from exc
    files = [
        RemoteFile(
            path=entry.rfilename,
            size_bytes=entry.lfs.size if entry.lfs else entry.size or 0,
            sha256=entry.lfs.sha256 if entry.lfs else None,
            blob_id=entry.blobId,
        )
        for entry in info.siblings
    ]
    return Listing(repository, info.sha, _licence(info), bool(info.gated), tuple(files))


def beginning(repository: str, commit: str, file: str, size_bytes: int) -> bytes:
    """The first bytes of a file.

    Raises:
        NotOnHubError, GatedModelError, HubConnectionError: see :func:`_translated`.
    """
    data = bytearray()
    with opened(repository, commit, file, {"Range": f"bytes=0-{size_bytes - 1}"}) as response:
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) >= size_bytes:  # a server that knows no ranges sends all
                break
    return bytes(data[:size_bytes])


@contextlib.contextmanager
def opened(
    repository: str, commit: str, file: str, headers: Mapping[str, str]
) -> Iterator[httpx2.Response]:
    """A file's bytes, as they come.

    Raises:
        NotOnHubError, GatedModelError, HubConnectionError: see :func:`_translated`, also for what
            goes wrong while it is read.
    """
    with _translated(repository, file):
        import httpx2
        from huggingface_hub import get_session, hf_hub_url

        where = endpoint()
        url = hf_hub_url(repository, file, revision=commit, endpoint=where)
        sent = {**_authorization(), "Accept-Encoding": "identity", **headers}
        timeout = httpx2.Timeout(_READ_S, connect=_CONNECT_S)
        # A redirect to another host does not get the token: httpx2 leaves it out.
        with get_session().stream(
            "GET", url, headers=sent, timeout=timeout, follow_redirects=True
        ) as response:
            if response.status_code != 416:  # the caller's affair: there is no more to come
                _raise_for_status(response)
            yield response


def _raise_for_status(response: Any) -> None:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined] # theirs to use, if not in an __all__

    try:
        hf_raise_for_status(response)
    except HfHubHTTPError:
        raise
    except (AttributeError, TypeError, ValueError, RecursionError) as exc:
        # It takes an error's body for an object, and one that is not nested without end.
        raise HubConnectionError(
            f"{endpoint()} answered with status {response.status_code}, and not as the hub does.",
            hint="Check HF_ENDPOINT, and try again later.",
        ) from exc


def _authorization() -> dict[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _licence(info: _Info) -> str | None:
    card = info.cardData if isinstance(info.cardData, dict) else {}
    said = card.get("license_name") or card.get("license")
    if said is None:
        tags = info.tags if isinstance(info.tags, list) else []
        found = [t for t in tags if isinstance(t, str) and t.startswith("license:")]
        said = found[0].partition(":")[2] if found else None
    return str(said) if said else None


@contextlib.contextmanager
def _translated(repository: str, file: str | None = None) -> Iterator[None]:
    """Turn what huggingface_hub and httpx2 raise into this package's errors.

    Raises:
        NotOnHubError: there is no such repository or file, or it is private.
        GatedModelError: the terms were not accepted, or not by this token's owner.
        HubConnectionError: offline mode, no connection, a break, or an error of the hub's.
    """
    _check_online()
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = endpoint()
    try:
        yield
    except OfflineModeIsEnabled as exc:
        raise _offline() from exc
    except GatedRepoError as exc:  # before RepositoryNotFoundError, of which it is one
        raise _gated(repository, where) from exc
    except (EntryNotFoundError, RevisionNotFoundError) as exc:
        raise NotOnHubError(f"{repository} has no file {file!r} any more.") from exc
    except (RepositoryNotFoundError, HFValidationError) as exc:
        raise _not_there(repository, where) from exc
    except HfHubHTTPError as exc:
        status = exc.response.status_code
        if status in (401, 404):
            raise _not_there(repository, where) from exc
        if status == 403:
            raise _gated(repository, where) from exc
        raise HubConnectionError(
            f"{where} answered with status {status} for {repository}.", hint="Try again later."
        ) from exc
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        reason = str(exc) or type(exc).__name__
        raise HubConnectionError(
            f"{where} cannot be reached: {reason}.",
            hint="Check the network and HF_ENDPOINT, then run it again: it goes on where it was.",
        ) from exc


def _no_hub() -> HubConnectionError:
    return HubConnectionError(
        f"What {endpoint()} answers is not the hub's protocol.",
        hint="Check HF_ENDPOINT, and whether a proxy wants you to log in.",
    )


def _check_online() -> None:
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in _TRUE:
            raise _offline(variable)


def _offline(variable: str = "HF_HUB_OFFLINE") -> HubConnectionError:
    return HubConnectionError(
        f"{variable} is set, so the hub is not asked.",
        hint=f"Unset it, or put the .gguf file into the models folder yourself: {variable}=0.",
    )


def _not_there(repository: str, where: str) -> NotOnHubError:
    return NotOnHubError(
        f"{where} has no repository {repository}, or it is private.",
        hint="Check the name; for a private one set HF_TOKEN or run `hf auth login`.",
    )


def _gated(repository: str, where: str) -> GatedModelError:
    return GatedModelError(
        f"{repository} is gated: its makers want their terms accepted first.",
        repository=repository,
        hint=f"Accept them on {where}/{repository}, then set HF_TOKEN or run `hf auth login`.",
    )
