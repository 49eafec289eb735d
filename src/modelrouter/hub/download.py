"""Fetches one file: goes on after a break, checks the sum, and names it only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from modelrouter._common.memory import gigabytes
from modelrouter.exceptions import ChecksumError, DiskSpaceError, HubConnectionError, PullError
from modelrouter.hub.choice import Offer
from modelrouter.hub.client import opened

if TYPE_CHECKING:
    import httpx2

__all__ = ["Progress", "check_room", "fetch", "is_whole"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes there are and the bytes there will be."""

_CHUNK: Final = 1 << 20
_TRIES: Final = 5
"""In a row without a new byte."""


def fetch(
    repository: str,
    commit: str,
    offer: Offer,
    target: Path,
    progress: Progress | None = None,
    *,
    wait_s: float = 1.0,
) -> None:
    """Put the file at ``target``.

    What came before a break lies beside it, under a hidden name that no model is looked for by,
    and is gone on from; also by another process, later.

    Args:
        repository: as ``owner/name``.
        commit: at which it was offered.
        offer: the file.
        target: where it goes; what is there is replaced when the new file is whole.
        progress: told how far it is.
        wait_s: the first pause after a break; each further one is twice as long.

    Raises:
        PullError: its kinds; another process that fetches the same file is one, too.
    """
    part = _part(target, offer)
    with _writing(target), _own(part):
        if is_whole(target, offer):  # another process has fetched it just now
            return
        digest = _Digest(offer)
        have = digest.read(part)
        if have > offer.size_bytes:
            part.unlink()
            digest, have = _Digest(offer), 0
        check_room(target.parent, offer.size_bytes - have)
        with part.open("ab") as file:
            _fill(file, digest, have, repository, commit, offer, progress, wait_s)
            file.flush()
            os.fsync(file.fileno())
        found = digest.hexdigest()
        if found != digest.expected:
            part.unlink()
            raise ChecksumError(
                f"{offer.file} of {repository} came damaged: its checksum is {found}, and "
                f"{digest.expected} was promised. It was deleted.",
                expected=digest.expected,
                found=found,
                hint="Pull it again; if that does not help, a proxy or mirror changes files.",
            )
        part.replace(target)
        for other in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
            other.unlink(missing_ok=True)  # of another version of the file


def is_whole(path: Path, offer: Offer) -> bool:
    """Whether the file is there already, with the right content."""
    try:
        if path.stat().st_size != offer.size_bytes:
            return False
        digest = _Digest(offer)
        digest.read(path)
    except OSError:
        return False
    return digest.hexdigest() == digest.expected


def check_room(folder: Path, needed: int) -> None:
    """Make sure that so many bytes can be written there.

    Raises:
        DiskSpaceError: they cannot.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskSpaceError(
            f"{gigabytes(needed)} are still to come, and {gigabytes(free)} are free in {folder}.",
            needed_bytes=needed,
            free_bytes=free,
            hint="Make room, choose a smaller quantization, or set MODELROUTER_MODELS_DIR.",
        )


class _Digest:
    """The checksum of what came so far, as the hub computes it: of LFS files, or git's."""

    def __init__(self, offer: Offer) -> None:
        self._sum: Any
        if offer.sha256 is not None:
            self._sum, self.expected = hashlib.sha256(), offer.sha256
        else:
            self._sum = hashlib.sha1(usedforsecurity=False)
            self._sum.update(b"blob %d\0" % offer.size_bytes)
            self.expected = offer.blob_id or ""
        self._begun = self._sum.copy()

    def read(self, path: Path) -> int:
        """Add a file; its size, 0 where it is not there."""
        size = 0
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._sum.update(chunk)
                size += len(chunk)
        return size

    def add(self, chunk: bytes) -> None:
        self._sum.update(chunk)

    def clear(self) -> None:
        """Begin anew."""
        self._sum = self._begun.copy()

    def hexdigest(self) -> str:
        return str(self._sum.hexdigest())


def _fill(
    file: Any,
    digest: _Digest,
    have: int,
    repository: str,
    commit: str,
    offer: Offer,
    progress: Progress | None,
    wait_s: float,
) -> None:
    """Append what is missing, over as many connections as it takes."""
    size, tries, most = offer.size_bytes, 0, have
    tell = progress or (lambda _have, _size: None)
    tell(have, size)
    while have < size:
        try:
            asked = {"Range": f"bytes={have}-"} if have else {}
            with opened(repository, commit, offer.file, asked) as response:
                if have and not _goes_on(response, have):
                    file.truncate(0)
                    digest.clear()
                    have = 0
                    if response.status_code == 416:
                        raise HubConnectionError("The store has less of it than was promised.")
                for chunk in response.iter_bytes():  # as it comes: nothing is lost in a buffer
                    file.write(chunk)
                    digest.add(chunk)
                    have += len(chunk)
                    tell(have, size)
                    if have > size:  # the checksum cannot be right any more
                        return
            if have < size:
                raise HubConnectionError(f"The connection ended after {have:,} of {size:,} bytes.")
        except HubConnectionError as exc:
            # What counts is to have got further than ever, not to have come as far once more.
            tries, most = (1, have) if have > most else (tries + 1, most)
            file.flush()
            if tries >= _TRIES or not _may_pass(exc):
                raise HubConnectionError(
                    f"{offer.file} broke off after {have:,} of {size:,} bytes: {exc}",
                    hint="Run it again: it goes on from there.",
                ) from exc
            time.sleep(wait_s * 2 ** (tries - 1))


def _goes_on(response: httpx2.Response, have: int) -> bool:
    """Whether the answer holds the rest, not the whole or nothing."""
    if response.status_code == 416:
        return False
    said = response.headers.get("Content-Range", "")
    return response.status_code == 206 and str(said).startswith(f"bytes {have}-")


def _may_pass(error: HubConnectionError) -> bool:
    response = getattr(error.__cause__, "response", None)
    status = getattr(response, "status_code", None)
    return status is None or status in (408, 425, 429) or status >= 500


def _part(target: Path, offer: Offer) -> Path:
    """Where the file grows; another version of it has another name."""
    version = (offer.sha256 or offer.blob_id or "")[:16]
    return target.with_name(f".{target.name}.{version}.part")


@contextlib.contextmanager
def _own(part: Path) -> Iterator[None]:
    """Nobody else appends to the file meanwhile."""
    from filelock import FileLock, Timeout

    name = part.with_suffix(".lock")
    lock = FileLock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise PullError(
            f"{part.name[1:]} is being fetched by another process.", hint="Wait for that one."
        ) from exc
    try:
        yield
    finally:
        # While it is held, so that it is not taken from under one who has just got it; Windows
        # lets no open file go.
        with contextlib.suppress(OSError):
            name.unlink()
        lock.release()
        if os.name == "nt":
            with contextlib.suppress(OSError):
                name.unlink()


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):  # Windows has no quota
            raise DiskSpaceError(
                f"The disk of {target.parent} is full.",
                needed_bytes=0,
                free_bytes=0,
                hint="Make room and pull it again: it goes on where it was.",
            ) from exc
        raise PullError(f"{target} cannot be written: {exc.strerror or exc}.") from exc
