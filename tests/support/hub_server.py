"""The Hugging Face hub on loopback, with its real protocol, and mishaps on request.

    with HubServer() as hub:
        hub.add("owner/tiny-GGUF", {"tiny.Q4_0.gguf": data}, licence="mit")
        ...                                    # HF_ENDPOINT=hub.endpoint
        hub.requests[0].path

Model info with and without ``blobs``, the tree, ``resolve`` (HEAD and GET) with the headers that
clients rely on (``X-Repo-Commit``, ``X-Linked-Size``, ``X-Linked-Etag``, ``X-Xet-Hash``), a
redirect to a second host for the bytes, ``Range`` there. A gated repository answers 401 without a
token and 403 with one that was not let in, an unknown one 401, a missing file 404, each with
``X-Error-Code``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["HubServer", "Repository", "Seen"]

LET_IN = "hf_let_in"
"""The token that may read gated repositories."""


@dataclass(frozen=True)
class Seen:
    """One request, as it came."""

    method: str
    path: str
    headers: Message


@dataclass
class Repository:
    """What the hub has under one name.

    Attributes:
        files: contents by path.
        licence: the card's.
        gated: whether a token is needed that was let in.
        sizes: what it claims of a file, in place of the truth.
        sums: likewise, of its checksum.
        plain: paths that are kept by git itself, without LFS.
    """

    files: dict[str, bytes]
    licence: str | None = None
    gated: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()

    @property
    def commit(self) -> str:
        whole = b"".join(k.encode() + v for k, v in sorted(self.files.items()))
        return hashlib.sha1(whole).hexdigest()

    def sha256(self, path: str) -> str:
        return self.sums.get(path) or hashlib.sha256(self.files[path]).hexdigest()

    def size(self, path: str) -> int:
        return self.sizes.get(path, len(self.files[path]))

    def blob_id(self, path: str) -> str:
        data = self.files[path]
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class HubServer:
    """A hub and its store of large files, two servers of this machine.

    Attributes:
        requests: all that came, to either, in order.
        breaks: how many bytes each coming answer of the store has before the connection breaks;
            one entry an answer.
        ranges: whether the store knows them.
        corrupt: whether the store sends other bytes than it should.
        login: whether the hub answers all with a page, as a network does that wants one.
        statuses: what the coming answers of the store are in place of files; one entry an answer.
        told: the body that the hub answers all with, and its status, in place of the truth.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Seen] = []
        self.breaks: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.corrupt = False
        self.login = False
        self.told: tuple[int, bytes] | None = None
        self._hub = self._serve(_Hub)
        self._store = self._serve(_Store)
        self.endpoint = f"http://127.0.0.1:{self._hub.server_port}"
        self.store = f"http://localhost:{self._store.server_port}"

    def add(self, name: str, files: Mapping[str, bytes], **options: Any) -> Repository:
        """A repository."""
        self.repositories[name] = repository = Repository(dict(files), **options)
        return repository

    def fetched(self) -> list[Seen]:
        """The requests for bytes, to the store."""
        return [seen for seen in self.requests if seen.path.startswith("/store/")]

    def __enter__(self) -> HubServer:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        for server in (self._hub, self._store):
            server.shutdown()
            server.server_close()

    def _serve(self, handler: type[_Handler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_GET(self) -> None:
        self.hub.requests.append(Seen(self.command, self.path, self.headers))
        with contextlib.suppress(ConnectionError):
            self.answer()

    do_HEAD = do_GET

    def answer(self) -> None:
        raise NotImplementedError

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: object, **headers: str) -> None:
        self.send(200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.send(status, body, X_Error_Code=code, X_Error_Message=message)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class _Hub(_Handler):
    def answer(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        if self.hub.login:
            self.send(200, b"<html>Welcome to our network</html>", Content_Type="text/html")
            return
        if self.hub.told is not None:
            status, body = self.hub.told
            self.send(status, body, Content_Type="application/json")
            return
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self.info(found[1], "blobs" in query)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/.*)?", path):
            self.tree(found[1])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(found[1], found[2], found[3])
        else:
            self.refuse(404, "NotFound", "Not Found")

    def known(self, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
        return repository

    def info(self, name: str, blobs: bool) -> None:
        repository = self.known(name)
        if repository is None:
            return
        siblings = []
        for path in sorted(repository.files):
            entry: dict[str, Any] = {"rfilename": path}
            if blobs:
                entry |= {"size": repository.size(path), "blobId": repository.blob_id(path)}
                if path not in repository.plain:
                    entry["lfs"] = {
                        "sha256": repository.sha256(path),
                        "size": repository.size(path),
                        "pointerSize": 135,
                    }
            siblings.append(entry)
        licence = repository.licence
        self.send_json(
            {
                "_id": "0" * 24,
                "id": name,
                "modelId": name,
                "sha": repository.commit,
                "private": False,
                "gated": "manual" if repository.gated else False,
                "tags": ["gguf", *([f"license:{licence}"] if licence else [])],
                "cardData": {"license": licence} if licence else {},
                "siblings": siblings,
            }
        )

    def tree(self, name: str) -> None:
        repository = self.known(name)
        if repository is None:
            return
        self.send_json(
            [
                {
                    "type": "file",
                    "path": path,
                    "oid": repository.blob_id(path),
                    "size": repository.size(path),
                    "lfs": {
                        "oid": repository.sha256(path),
                        "size": repository.size(path),
                        "pointerSize": 135,
                    },
                    "xetHash": hashlib.sha256(path.encode()).hexdigest(),
                }
                for path in sorted(repository.files)
            ]
        )

    def resolve(self, name: str, revision: str, path: str) -> None:
        repository = self.known(name)
        if repository is None:
            return
        if repository.gated and not self.let_in(name):
            return
        if revision not in ("main", repository.commit):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        if path not in repository.files:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {
            "X_Repo_Commit": repository.commit,
            "Accept_Ranges": "bytes",
            "ETag": f'"{repository.blob_id(path)}"',
        }
        if path not in repository.plain:
            headers |= {
                "X_Linked_Size": str(repository.size(path)),
                "X_Linked_ETag": f'"{repository.sha256(path)}"',
                "X_Xet_Hash": hashlib.sha256(path.encode()).hexdigest(),
                "Link": f"<{self.hub.endpoint}/api/models/{name}/xet-read-token/"
                f'{repository.commit}>; rel="xet-auth"',
            }
        self.send(302, Location=f"{self.hub.store}/store/{name}/{path}", **headers)

    def let_in(self, name: str) -> bool:
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if token == LET_IN:
            return True
        why = f"Access to model {name} is restricted."
        self.refuse(403 if token else 401, "GatedRepo", why)
        return False


class _Store(_Handler):
    def answer(self) -> None:
        hub = self.hub
        if hub.statuses:
            self.send(hub.statuses.pop(0), b"not now")
            return
        _, _, owner, name, path = unquote(self.path).split("/", 4)
        data = hub.repositories[f"{owner}/{name}"].files[path]
        if hub.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if asked is None or not hub.ranges:
            self.pour(200, data, {})
            return
        start = int(asked[1])
        if start >= len(data):
            self.send(416, Content_Range=f"bytes */{len(data)}")
            return
        stop = min(int(asked[2]) + 1 if asked[2] else len(data), len(data))
        self.pour(206, data[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

    def pour(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        # Looks at a file's beginning are not counted: it is downloads that break.
        breaks = self.hub.breaks and not re.match(r"bytes=0-\d", self.headers["Range"] or "")
        sent = data[: self.hub.breaks.pop(0)] if breaks else data
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(sent)
        self.wfile.flush()
        if len(sent) < len(data):
            self.close_connection = True
