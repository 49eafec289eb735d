"""ImageIndex: search over a folder's pictures, by words or by a picture; kept in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modelrouter.exceptions import (
    BadRequestError,
    ConfigurationError,
    InvalidTaskError,
    LocalModelError,
    StorageError,
)
from modelrouter.images import picture_bytes

if TYPE_CHECKING:
    from modelrouter.response import EmbeddingResponse

    Embed = Callable[[Sequence[Any], str], EmbeddingResponse]

__all__ = ["ImageIndex", "Match", "Updated"]

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_FILE: Final = ".modelrouter-images.npz"
_FORMAT: Final = 1
_BATCH: Final = 32
_FIELDS: Final = ("format", "model", "paths", "mtimes", "sizes", "vectors")


@dataclass(frozen=True, slots=True)
class Match:
    """A picture found: its path, and the cosine of its vector and the query's (-1 to 1)."""

    path: Path
    score: float


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did; ``skipped`` says by path why a file is not a picture that can be read."""

    added: int
    removed: int
    kept: int
    skipped: dict[Path, str] = field(default_factory=dict)


class ImageIndex:
    """A folder's pictures as vectors of one model, in a file beside them.

    Made by :meth:`Router.image_index`. PNG, JPEG, GIF and WebP files in the folder and below it
    count. A file is read again when its time or size has changed. The index is a plain ``.npz``
    without pickled objects, so one from elsewhere can run no code.

    Raises:
        ConfigurationError: the folder is not there.
        StorageError: the index file is damaged or of a later version.
    """

    def __init__(self, embed: Embed, folder: str | Path, *, file: str | Path | None, model: str):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ConfigurationError(
                f"{self.folder} is not a folder.", hint="Give one of pictures."
            )
        self.file = Path(file) if file is not None else self.folder / _FILE
        self._embed = embed
        self._asked_for = model
        self._known: dict[str, tuple[int, int, Any]] = {}
        self.model = ""
        self._load()

    def __len__(self) -> int:
        return len(self._known)

    def update(self) -> Updated:
        """Read what is new or changed in the folder, forget what is gone, and keep the index.

        Raises:
            BackendError, NoEligibleModelError, MissingDependencyError: see :meth:`Router.embed`;
                what was read before it is kept.
            StorageError: the index cannot be written.
        """
        found = self._found()
        if self._asked_for not in ("auto", self.model):
            self._known, self.model = {}, ""  # vectors of two models cannot be compared
        gone = self._known.keys() - found.keys()
        for name in gone:
            del self._known[name]
        new = [name for name, stamp in found.items() if self._known.get(name, ())[:2] != stamp]
        skipped: dict[Path, str] = {}
        for start in range(0, len(new), _BATCH):
            self._read(new[start : start + _BATCH], found, skipped)
            self._save()
        if gone and not new:
            self._save()
        added = len(new) - len(skipped)
        return Updated(added, len(gone), len(self._known) - added, skipped)

    def search(self, query: Any, k: int = 5) -> list[Match]:
        """The pictures nearest to a text, a path, bytes or a PIL image; best first.

        Raises:
            InvalidTaskError: ``k`` is not a positive number, or the query is empty.
            BackendError: the model could not.
        """
        import numpy as np

        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InvalidTaskError("k", f"{k!r} is not a positive whole number.")
        if not self._known:
            return []
        vector = np.asarray(self._embed([query], self.model).vectors[0], np.float32)
        names = list(self._known)
        scores = np.stack([self._known[name][2] for name in names]) @ vector
        best = np.argsort(-scores, kind="stable")[:k]
        return [Match(self.folder / names[i], float(scores[i])) for i in best]

    def _found(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() in _SUFFIXES and path.is_file():
                status = path.stat()
                name = path.relative_to(self.folder).as_posix()
                found[name] = (status.st_mtime_ns, status.st_size)
        return found

    def _read(
        self, names: Sequence[str], found: dict[str, tuple[int, int]], skipped: dict[Path, str]
    ) -> None:
        pictures: dict[str, bytes] = {}
        for name in names:
            try:
                pictures[name] = picture_bytes(self.folder / name, name)
            except InvalidTaskError as error:
                self._skip(name, str(error), skipped)
        try:
            self._add(pictures, found)
        except (BadRequestError, LocalModelError) as error:
            if len(pictures) == 1:
                self._skip(next(iter(pictures)), str(error), skipped)
                return
            for name in pictures:  # one of them is at fault
                self._read([name], found, skipped)

    def _skip(self, name: str, why: str, skipped: dict[Path, str]) -> None:
        self._known.pop(name, None)
        skipped[self.folder / name] = why

    def _add(self, pictures: dict[str, bytes], found: dict[str, tuple[int, int]]) -> None:
        import numpy as np

        if not pictures:
            return
        reply = self._embed(list(pictures.values()), self.model or self._asked_for)
        self.model = reply.model
        for name, vector in zip(pictures, reply.vectors, strict=True):
            self._known[name] = (*found[name], np.asarray(vector, np.float32))

    def _load(self) -> None:
        import zipfile

        import numpy as np

        try:
            with np.load(self.file, allow_pickle=False) as kept:
                fields = {name: kept[name] for name in _FIELDS}
            if int(fields["format"]) > _FORMAT:
                raise ValueError("it was written by a later version")
            rows = zip(
                map(str, fields["paths"]),
                map(int, fields["mtimes"]),
                map(int, fields["sizes"]),
                fields["vectors"].astype(np.float32),
                strict=True,
            )
            self._known = {name: (mtime, size, vector) for name, mtime, size, vector in rows}
            self.model = str(fields["model"])
        except FileNotFoundError:
            return
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as exc:
            raise StorageError(
                f"The index {self.file} cannot be read: {exc}.",
                path=self.file,
                hint="Delete it: it is made anew from the pictures.",
            ) from exc

    def _save(self) -> None:
        import numpy as np

        if not self.model:
            return
        rows = list(self._known.values())
        beside = self.file.with_name(f"{self.file.name}.{os.getpid()}.part")
        try:
            with beside.open("wb") as out:
                np.savez(
                    out,
                    format=np.asarray(_FORMAT),
                    model=np.asarray(self.model),
                    paths=np.asarray(list(self._known), dtype=np.str_),
                    mtimes=np.asarray([row[0] for row in rows], np.int64),
                    sizes=np.asarray([row[1] for row in rows], np.int64),
                    vectors=np.asarray([row[2] for row in rows], np.float32),
                )
            beside.replace(self.file)  # at once: never half an index
        except OSError as exc:
            beside.unlink(missing_ok=True)
            raise StorageError(
                f"The index {self.file} cannot be written: {exc.strerror or exc}.",
                path=self.file,
                hint="Name a place with file=...",
            ) from exc
