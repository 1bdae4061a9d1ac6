"""A server that speaks the hub's protocol, as far as huggingface_hub uses it to fetch files."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


class Hub:
    """Repositories, and what was asked.

    Attributes:
        repositories: Name -> revision -> files; every revision is a commit of its own.
        gated: Names of repositories that need access.
        token: What alone is let in to those that are gated.
        status: What every request is answered with, if not 0.
        broken: Files that come with other bytes than announced.
        stalls: Files of which half comes, and the rest when `resume` is set.
        stalled: Set as soon as one waits.
        asked: Method and path of every request.
        headers: Of the last request.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Files]] = {}
        self.gated: set[str] = set()
        self.broken: set[str] = set()
        self.stalls: set[str] = set()
        self.stalled, self.resume = threading.Event(), threading.Event()
        self.token, self.status, self.address = "", 0, ""
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}

    def add(self, repository: str, files: Files, revision: str = "main") -> str:
        """Add a commit, and give its name."""
        self.repositories.setdefault(repository, {})[revision] = files
        return self.commit(repository, revision)

    def commit(self, repository: str, revision: str) -> str:
        """Name the commit of a revision."""
        files = self.repositories[repository][revision]
        digests = [hashlib.sha1(data).hexdigest() for data in files.values()]
        return hashlib.sha1(" ".join([repository, *files, *digests]).encode()).hexdigest()

    def find(self, repository: str, revision: str) -> str | None:
        """Find a revision by its name or its commit."""
        known = self.repositories[repository]
        return next((r for r in known if revision in (r, self.commit(repository, r))), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    stalls = False

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, url = self.hub, urlsplit(self.path)
        hub.asked.append(f"{self.command} {url.path}")
        hub.headers = {name.lower(): text for name, text in self.headers.items()}
        if hub.status:
            self._send(hub.status)
            return
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts == ["api", "models"]:
            owner = dict(one.split("=") for one in url.query.split("&"))["author"]
            names = [name for name in hub.repositories if name.startswith(f"{owner}/")]
            self._json([{"id": name, "modelId": name} for name in names])
            return
        is_api = parts[:2] == ["api", "models"]
        repository, rest = (
            "/".join(parts[2:4] if is_api else parts[:2]),
            parts[4 if is_api else 2 :],
        )
        if repository not in hub.repositories:
            self._send(401, {"X-Error-Code": "RepoNotFound"})
        elif rest == ["refs"]:
            known = hub.repositories[repository]
            branches = [
                {"name": n, "ref": n, "targetCommit": hub.commit(repository, n)} for n in known
            ]
            self._json({"branches": branches, "tags": [], "converts": []})
        elif (found := hub.find(repository, rest[1] if rest else "main")) is None:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        elif is_api:
            files = hub.repositories[repository][found]
            siblings = [{"rfilename": file} for file in files]
            commit = hub.commit(repository, found)
            self._json({"id": repository, "sha": commit, "siblings": siblings, "tags": []})
        else:
            self._file(repository, found, "/".join(rest[2:]))

    def _file(self, repository: str, revision: str, file: str) -> None:
        """Send a file, or a part of it."""
        hub, token = self.hub, f"Bearer {self.hub.token}"
        if repository in hub.gated and self.headers.get("Authorization") != token:
            self._send(403, {"X-Error-Code": "GatedRepo"})
            return
        data = hub.repositories[repository][revision].get(file)
        commit = {"X-Repo-Commit": hub.commit(repository, revision)}
        if data is None:
            self._send(404, {"X-Error-Code": "EntryNotFound", **commit})
            return
        digest = hashlib.sha256(data).hexdigest()
        size = str(len(data))
        tags = {"ETag": f'"{digest}"', "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": size}
        if file in hub.broken:
            data = data[:-1] + bytes([data[-1] ^ 1])
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if "Range" in self.headers:
            tags["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self.stalls = file in hub.stalls
        self._send(206 if "Range" in self.headers else 200, commit | tags, data[begin:])

    def _json(self, value: Any) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _send(self, status: int, headers: dict[str, str] | None = None, data: bytes = b"") -> None:
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "GET":
            return
        if not self.stalls:
            self.wfile.write(data)
            return
        half = len(data) // 2
        with suppress(OSError):  # whoever asked may be gone
            self.wfile.write(data[:half])
            self.hub.stalled.set()
            self.hub.resume.wait(60)
            self.wfile.write(data[half:])


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub on this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
