"""What `mlcweb check-host` finds of hosts that are right, and of hosts that are wrong in one thing each."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlcweb.cli.command import run
from mlcweb.errors import HostError
from mlcweb.hosting import Finding, check_host
from tests.support.bundle_sample import make_bundle

ORIGIN = "https://page.example"
FIXED = {"Cache-Control": "public, max-age=31536000, immutable"}
SHARED = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Range, Retry-After",
}


@dataclass
class Reply:
    """What the host says; a test changes one thing of it."""

    name: str
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True
    cut: bool = False
    """The connection ends in the middle of the body."""


Change = Callable[[Reply, BaseHTTPRequestHandler], None]


@contextmanager
def host(bundle: Path, change: Change) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rsplit("/", 1)[-1]
            file = bundle / name
            reply = Reply(name, 200 if file.is_file() else 404, file.read_bytes() if file.is_file() else b"")
            reply.headers = {
                **SHARED,
                **({"Cache-Control": "no-cache"} if name == "mlcweb.json" else FIXED),
                "Content-Type": "application/octet-stream",
            }
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if found and name.endswith(".bin"):
                start, size = int(found[1]), len(reply.body)
                reply.status, reply.body = 206, reply.body[start:]
                reply.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            elif name.endswith((".json", ".wgsl")) and "gzip" in self.headers.get("Accept-Encoding", ""):
                reply.body, reply.headers["Content-Encoding"] = gzip.compress(reply.body), "gzip"
            change(reply, self)
            self.send_response(reply.status)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            if reply.length:
                self.send_header("Content-Length", str(len(reply.body)))
            elif reply.cut:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if not reply.length or reply.cut:
                self.close_connection = True
            if reply.cut and not reply.length:
                self.wfile.write(b"%x\r\n" % len(reply.body))
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/models/one"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host") / "sample"
    make_bundle(folder)
    return folder


def nothing(reply: Reply, request: BaseHTTPRequestHandler) -> None: ...


def set_header(name: str, value: str | None, of: str = "") -> Change:
    def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if reply.name.endswith(of):
            reply.headers.pop(name, None)
            if value is not None:
                reply.headers[name] = value

    return change


def status(code: int, of: str) -> Change:
    def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if reply.name.endswith(of):
            reply.status = code

    return change


def body(make: Callable[[bytes], bytes], of: str) -> Change:
    def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if reply.name.endswith(of) and reply.status < 300:
            reply.body = make(reply.body)

    return change


def page(of: str) -> Change:
    def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if (reply.status == 404) if of == "404" else (reply.name.endswith(of) and reply.status != 404):
            reply.status, reply.body = 200, b"<!doctype html><title>App</title>"
            reply.headers["Content-Type"] = "text/html"
            reply.headers.pop("Content-Encoding", None)

    return change


def whole(reply: Reply, request: BaseHTTPRequestHandler) -> None:
    """Ignores ranges."""
    if reply.status == 206:
        start = int(re.findall(r"\d+", reply.headers.pop("Content-Range"))[0])
        reply.status, reply.body = 200, b"x" * start + reply.body


def compressed(reply: Reply, request: BaseHTTPRequestHandler) -> None:
    if reply.name.endswith(".bin") and reply.status == 200:
        reply.body, reply.headers["Content-Encoding"] = gzip.compress(reply.body), "gzip"


def without_length(reply: Reply, request: BaseHTTPRequestHandler) -> None:
    reply.length = not reply.name.endswith(".bin")


def cut(of: str, *, chunked: bool = False) -> Change:
    def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if reply.name.endswith(of):
            reply.cut, reply.length = True, not chunked

    return change


def compressed_in_secret(of: str) -> Change:
    def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if of in reply.name and reply.status < 300 and not reply.headers.pop("Content-Encoding", None):
            reply.body = gzip.compress(reply.body)

    return change


def falsely_compressed(of: str) -> Change:
    def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if of in reply.name and reply.status == 200:
            if reply.headers.get("Content-Encoding"):
                reply.body = gzip.decompress(reply.body)
            reply.headers["Content-Encoding"] = "gzip"

    return change


def unreadable_errors(reply: Reply, request: BaseHTTPRequestHandler) -> None:
    if reply.status >= 400:
        del reply.headers["Access-Control-Allow-Origin"]


def moved(reply: Reply, request: BaseHTTPRequestHandler) -> None:
    if "/models/" in request.path:
        reply.status, reply.body = 302, b""
        reply.headers["Location"] = request.path.replace("/models/", "/stored/")


def moved_without_cors(reply: Reply, request: BaseHTTPRequestHandler) -> None:
    moved(reply, request)
    if reply.status == 302:
        del reply.headers["Access-Control-Allow-Origin"]


def twice_compressed(reply: Reply, request: BaseHTTPRequestHandler) -> None:
    if reply.name.endswith(".bin") and reply.status == 200:
        reply.body, reply.headers["Content-Encoding"] = gzip.compress(gzip.compress(reply.body)), "gzip"


def first_is(begins: str, change: Change) -> Change:
    def changed(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        if reply.name.startswith(begins):
            change(reply, request)

    return changed


def gone(begins: str) -> Change:
    return first_is(begins, status(404, ""))


KINDS = ("mlcweb.json", "weights-", "tokenizer.", "model.", "kernels.base.")
ENDS = ("mlcweb.json", ".bin", ".json", ".wasm", ".wgsl")

CASES: list[tuple[str, Change, str, str, str]] = [
    (
        "no CORS",
        set_header("Access-Control-Allow-Origin", None),
        "error",
        "cors",
        "Access-Control-Allow-Origin: *",
    ),
    (
        "another's CORS",
        set_header("Access-Control-Allow-Origin", "https://other.example"),
        "error",
        "cors",
        "alone",
    ),
    (
        "hidden headers",
        set_header("Access-Control-Expose-Headers", None),
        "warning",
        "cors",
        "Expose-Headers",
    ),
    ("no ranges", whole, "warning", "ranges", "Accept-Ranges: bytes"),
    ("a wrong range", set_header("Content-Range", "bytes 0-9/10", ".bin"), "error", "ranges", "not bytes"),
    ("compressed weights", compressed, "warning", "encoding", "Do not compress .bin"),
    ("no length", without_length, "warning", "length", "Content-Length: "),
    ("cut weights", body(lambda data: data[:-1], ".bin"), "error", "length", "the manifest says"),
    (
        "a minifier",
        body(lambda data: gzip.compress(gzip.decompress(data)[:-1]), ".wgsl"),
        "error",
        "bytes",
        "nothing",
    ),
    ("gzip twice", body(gzip.compress, ".wgsl"), "error", "encoding", "compressed twice"),
    ("gzip twice in a manifest", body(gzip.compress, "mlcweb.json"), "error", "encoding", "compressed twice"),
    ("gzip twice in weights", twice_compressed, "error", "encoding", "compressed twice"),
    *(
        (f"gzip unsaid: {of}", compressed_in_secret(of), "error", "encoding", "Content-Encoding: gzip")
        for of in KINDS
    ),
    *(
        (f"gzip falsely said: {of}", falsely_compressed(of), "error", "encoding", "is not that")
        for of in KINDS
    ),
    *((f"cut: {of}", cut(of), "error", "length", "breaks off after") for of in ENDS),
    *((f"cut chunks: {of}", cut(of, chunked=True), "error", "length", "breaks off after") for of in ENDS),
    *((f"a page: {of}", page(of), "error", "page", "a web page") for of in ENDS),
    *((f"gone: {of}", gone(of), "error", "status", "an old copy") for of in KINDS[1:]),
    ("one chunk is gone", gone("weights-001"), "error", "status", "an old copy"),
    ("one chunk is a page", first_is("weights-001", page(".bin")), "error", "page", "answer 404"),
    ("one chunk is gzip", first_is("weights-001", compressed_in_secret(".bin")), "error", "encoding", "gzip"),
    ("errors that pages may not read", unreadable_errors, "warning", "cors", "also with errors"),
    ("gzip that is none", body(lambda data: b"plain", ".wgsl"), "error", "encoding", "is not that"),
    (
        "a manifest that is kept",
        set_header("Cache-Control", "max-age=600", "mlcweb.json"),
        "warning",
        "caching",
        "600 s",
    ),
    ("files that are not", set_header("Cache-Control", None, ".bin"), "warning", "caching", "immutable"),
    ("a page for what is missing", page("404"), "warning", "missing", "Answer 404"),
    ("a login", page("mlcweb.json"), "error", "page", "a login"),
    (
        "a manifest that is none",
        body(lambda data: gzip.compress(b"{}"), "mlcweb.json"),
        "error",
        "manifest",
        "not valid",
    ),
    ("weights that are gone", status(404, ".bin"), "error", "status", "404"),
    ("weights for members", status(403, ".wgsl"), "error", "status", "403"),
    ("redirects", moved, "warning", "redirects", "the last address"),
    ("redirects without CORS", moved_without_cors, "error", "cors", "redirected"),
]


def test_a_good_host_has_nothing_to_mend(bundle: Path) -> None:
    with host(bundle, nothing) as url:
        assert check_host(url) == check_host(f"{url}/mlcweb.json?token=1") == []


@pytest.mark.parametrize(
    ("change", "level", "about", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_each_fault_is_found(bundle: Path, change: Change, level: str, about: str, said: str) -> None:
    with host(bundle, change) as url:
        findings = check_host(url)
    matching = [f for f in findings if (f.level, f.about) == (level, about) and said in f.said + f.fix]
    assert matching, findings
    # and nothing else is wrong
    assert {f.about for f in findings} <= {about, "redirects"}


def test_a_page_of_the_same_origin_needs_no_cors(bundle: Path) -> None:
    with host(bundle, set_header("Access-Control-Allow-Origin", None)) as url:
        assert check_host(url, url.removesuffix("/models/one")) == []


def test_http_is_for_this_machine_alone(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlcweb.hosting import check

    monkeypatch.setattr(check, "_LOCAL", ())
    with host(bundle, nothing) as url:
        (finding,) = check_host(url)
    assert (finding.level, finding.about) == ("error", "transport") and "https" in finding.fix


def test_what_cannot_be_reached_is_an_error(bundle: Path) -> None:
    for url in ("http://127.0.0.1:9/x", "ftp://a/b", "nonsense"):
        with pytest.raises(HostError):
            check_host(url)

    def endless(reply: Reply, request: BaseHTTPRequestHandler) -> None:
        reply.status, reply.headers["Location"] = 302, request.path

    with host(bundle, endless) as url, pytest.raises(HostError, match="redirects more than"):
        check_host(url)


def test_the_command(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with host(bundle, nothing) as url:
        assert run(["check-host", url]) == 0
        assert "a page loads this bundle" in capsys.readouterr().out
    with host(bundle, set_header("Access-Control-Allow-Origin", None)) as url:
        assert run(["check-host", url]) == 1
        out, err = capsys.readouterr()
        # one line for all files
        assert (
            out.count("allows no page of another origin") == 1 and "set Access-Control-Allow-Origin: *" in out
        )
        assert "cannot load" in err
        assert run(["check-host", url, "--format", "json"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert {Finding(**one).about for one in document["findings"]} == {"cors"}


def test_a_catalog_that_lists_another_manifest_is_told_of(bundle: Path, tmp_path: Path) -> None:
    from mlcweb.publish import PublishRequest, publish

    publish(PublishRequest((bundle,), str(tmp_path)))
    (name,) = (path.name for path in tmp_path.iterdir() if path.is_dir())

    def catalog(old: bool) -> Change:
        def change(reply: Reply, request: BaseHTTPRequestHandler) -> None:
            if request.path == "/models/catalog.json":
                reply.status, reply.body = 200, (tmp_path / "catalog.json").read_bytes()
                reply.headers |= {"Cache-Control": "no-cache"}
                del reply.headers["Content-Encoding"]
                if old:
                    document = json.loads(reply.body)
                    document["models"][0]["manifest_sha256"] = "0" * 64
                    reply.body = json.dumps(document).encode()

        return change

    with host(bundle, catalog(old=False)) as url:
        assert check_host(url.replace("/one", f"/{name}")) == []
    with host(bundle, catalog(old=True)) as url:
        (finding,) = check_host(url.replace("/one", f"/{name}"))
        assert (finding.level, finding.about, finding.fix) == ("warning", "stale", "Cache-Control: no-cache")
        assert check_host(url) == []  # of another bundle the catalog says nothing
