"""A small server on this machine: plain files that misbehave on request, and the hub's interface."""

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Headers = dict[str, str]


@dataclass
class Repository:
    """A data set on the hub: revision -> commit, and the files at each commit."""

    revisions: dict[str, str]
    commits: dict[str, dict[str, bytes]]
    closed: tuple[int, str] | None = None  # status and error code for all who have no token


@dataclass
class Server:
    """What is served, how it fails, and what was asked.

    Attributes:
        files: Path -> content.
        drops: Path -> after how many bytes the connection breaks, one a request.
        refusals: Path -> status codes, one a request, before the file is served.
        headers: Path -> more headers of the answer.
        redirects: Path -> address.
        pauses: Path -> seconds before each of four pieces.
        chunked: Without Content-Length.
        log: What was asked: method, path, headers.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    drops: dict[str, list[int]] = field(default_factory=dict)
    refusals: dict[str, list[int]] = field(default_factory=dict)
    headers: dict[str, Headers] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    pauses: dict[str, float] = field(default_factory=dict)
    chunked: bool = False
    hub: dict[str, Repository] = field(default_factory=dict)
    log: list[tuple[str, str, Headers]] = field(default_factory=list)
    url: str = ""

    def asked(self, path: str) -> list[Headers]:
        """The headers of all requests for a path."""
        return [headers for _, asked, headers in self.log if asked == path]


class Handler(BaseHTTPRequestHandler):
    """Answers from the ``Server`` of its class."""

    protocol_version = "HTTP/1.1"
    served: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, served = unquote(parts.path), self.served
        served.log.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        refusals = served.refusals.get(path)
        if refusals:
            return self._answer(refusals.pop(0), b"no")
        if path in served.redirects:
            return self._answer(302, b"", {"Location": served.redirects[path]})
        if path in served.files:
            return self._file(served.files[path], served.headers.get(path, {}))
        for name, repository in served.hub.items():
            if f"/datasets/{name}/" in path:
                return self._hub(repository, path, parse_qs(parts.query))
        if "/datasets/" in path:
            return self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        return self._answer(404, b"nothing here")

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        self.send_response(status)
        size = {} if self.served.chunked else {"Content-Length": str(len(body))}
        for key, value in {**size, **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection |= self.served.chunked
        if self.command != "HEAD":
            self._body(body)

    def _body(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        drops = self.served.drops.get(path)
        if drops:
            self.wfile.write(body[: drops.pop(0)])
            self.close_connection = True
            return
        pause, quarter = self.served.pauses.get(path, 0.0), -(-len(body) // 4) or 1
        for begin in range(0, len(body), quarter):
            time.sleep(pause)
            self.wfile.write(body[begin : begin + quarter])

    def _file(self, content: bytes, headers: Headers) -> None:
        self._answer(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"', **headers})

    def _hub(self, repository: Repository, path: str, query: dict[str, list[str]]) -> None:
        if repository.closed and "Authorization" not in self.headers:
            status, code = repository.closed
            return self._answer(status, b"", {"X-Error-Code": code} if code else {})
        kind = next(word for word in ("revision", "tree", "resolve") if f"/{word}/" in path)
        revision = path.split(f"/{kind}/")[1]
        inside = ""
        if kind == "resolve":
            revision, inside = revision.split("/", 1)
        commit = repository.revisions.get(revision, revision)
        if commit not in repository.commits:
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        files = repository.commits[commit]
        if kind == "resolve":
            if inside not in files:
                return self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return self._file(files[inside], {"X-Repo-Commit": commit})
        found: Any = {"id": path.split("/datasets/")[1].split(f"/{kind}/")[0], "sha": commit}
        if kind == "tree":
            assert query["recursive"][0].lower() in ("true", "1")
            found = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in files.items()
            ]
        return self._answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where the other side hung up."""


def start() -> tuple[Server, ThreadingHTTPServer]:
    """Start a server on a free port; the caller shuts it down."""
    served = Server()
    handler = type("Bound", (Handler,), {"served": served})
    http = _Quiet(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return served, http
