"""Stands in for the Hugging Face hub: what publishing asks of one model repository, kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"


@dataclass
class HubServer:
    """``files`` are those of the last commit. ``before_commit`` runs before each, as another publisher would."""

    repo: str
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["0" * 40])
    uploads: int = 0
    before_commit: Callable[[], None] | None = None

    def commit(self, changes: dict[str, bytes | None]) -> None:
        for path, data in changes.items():
            if data is None:
                self.files.pop(path, None)
            else:
                self.files[path] = data
        self.commits.append(hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest())


@contextmanager
def hub_server(repo: str) -> Iterator[HubServer]:
    hub = HubServer(repo)

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        api = f"/api/models/{hub.repo}"
        if not self._known(path):
            return
        if path == api or path.startswith(f"{api}/revision/"):
            self._json({"id": hub.repo, "sha": hub.commits[-1], "siblings": [], "tags": []})
        elif path.startswith(f"{api}/tree/"):
            folder = path.removeprefix(f"{api}/tree/").partition("/")[2]
            inside = {name: data for name, data in hub.files.items() if name.rpartition("/")[0] == folder}
            if folder and not inside:
                return self._error(404, "EntryNotFound")
            commit = {"id": hub.commits[-1], "title": "a commit", "date": "2026-01-01T00:00:00.000Z"}
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40, "lastCommit": commit}
                    for name, data in inside.items()
                ]
            )
        elif path.startswith(f"/{hub.repo}/resolve/"):
            name = path.removeprefix(f"/{hub.repo}/resolve/").partition("/")[2]
            if name not in hub.files:
                return self._error(404, "EntryNotFound")
            data = hub.files[name]
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": hub.commits[-1]}
            self._answer(200, data, headers)
        else:
            self._error(404, "RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._known(path):
            return
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._error(403, "Forbidden")
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".bin") else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            self._json({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = []
            for one in json.loads(body)["objects"]:
                upload = {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}
                objects.append({**one, **({} if one["oid"] in hub.objects else {"actions": upload})})
            self._json({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self._commit([json.loads(line) for line in body.splitlines()])
        else:
            self._error(404, "RepoNotFound")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(data).hexdigest() != oid:
            return self._error(400, "BadContent")
        self.hub.uploads += 1
        self.hub.objects[oid] = data
        self._answer(200, b"")

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        hub = self.hub
        if hub.before_commit:
            hub.before_commit()
        parent = lines[0]["value"].get("parentCommit")
        if parent not in (None, hub.commits[-1]):
            return self._error(412, "Conflict")
        changes: dict[str, bytes | None] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changes[value["path"]] = hub.objects[value["oid"]]
            else:
                assert line["key"] == "deletedFile", line["key"]
                changes[value["path"]] = None
        hub.commit(changes)
        self._json(
            {"commitUrl": f"{hub.url}/{hub.repo}/commit/{hub.commits[-1]}", "commitOid": hub.commits[-1]}
        )

    def _known(self, path: str) -> bool:
        if f"/{self.hub.repo}" in path:
            return True
        self._error(404, "RepoNotFound")
        return False

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str) -> None:
        self._answer(status, b"{}", {"X-Error-Code": code, "Content-Type": "application/json"})

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
