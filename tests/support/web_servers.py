"""Starts nginx and Caddy on loopback: with a configuration of docs/hosts.md, or with a test's own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.pages import ROOT, blocks_of

_START_SECONDS = 60


@contextmanager
def nginx_server(program: Path, folder: Path, http: str, port: int) -> Iterator[None]:
    """nginx with ``http`` as what a distribution includes in its http block, until the block ends."""
    root = program.parents[2]  # /usr/sbin/nginx, or the same under a folder
    main = folder / "nginx.conf"
    main.write_text(f"""
load_module {root}/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so;
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    include {root}/etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
""")
    libraries = os.pathsep.join(str(path) for path in (root / "usr" / "lib").glob("*-linux-gnu"))
    command = [str(program), "-p", str(folder), "-c", str(main), "-e", str(folder / "error.log")]
    with _running(command, folder, port, {"LD_LIBRARY_PATH": libraries}):
        yield


@contextmanager
def caddy_server(program: Path, folder: Path, caddyfile: str, port: int) -> Iterator[Path]:
    """Caddy, until the block ends. Gives the certificate of the authority that it makes for itself."""
    file = folder / "Caddyfile"
    file.write_text(caddyfile)
    environment = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    authority = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    command = [str(program), "run", "--config", str(file), "--adapter", "caddyfile"]
    with _running(command, folder, port, environment):
        _await_certificate(port, authority)
        yield authority


def _await_certificate(port: int, authority: Path) -> None:
    """Caddy listens before it has made its certificates."""
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            context = ssl.create_default_context(cafile=authority)
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                context.wrap_socket(raw, server_hostname="localhost").close()
            return
        except OSError:  # also of the file, and of TLS
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int, more: Mapping[str, str]) -> Iterator[None]:
    log = folder / "server.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env={**os.environ, **more})
    try:
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    said = log.read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"{command[0]} did not start:\n{said}") from None
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def documented(language: str, under: str) -> str:
    """The one block of docs/hosts.md in a language and under a heading."""
    page = ROOT / "docs" / "hosts.md"
    lines = page.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.lstrip("#") == f" {under}")
    last = next((i for i in range(first + 1, len(lines)) if lines[i].startswith("## ")), len(lines))
    last = next((i for i in range(first + 1, last) if lines[i].startswith("### ")), last)
    (block,) = [b for b in blocks_of(page) if b.language == language and first < b.line <= last]
    return block.text


@contextmanager
def documented_nginx(
    program: Path, folder: Path, under: str, more: Mapping[str, str]
) -> Iterator[tuple[str, Path]]:
    """nginx with a block of docs/hosts.md in which nothing but ports, paths and names is another.

    Gives its URL and its certificate.
    """
    port, (cert, key) = free_port(), certificate(folder)
    values = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "server_name models.example": "server_name localhost",
        "/etc/letsencrypt/live/models.example/fullchain.pem": str(cert),
        "/etc/letsencrypt/live/models.example/privkey.pem": str(key),
        **more,
    }
    with nginx_server(program, folder, replaced(documented("nginx", under), values), port):
        yield f"https://localhost:{port}", cert


@contextmanager
def documented_caddy(program: Path, folder: Path, models: Path) -> Iterator[tuple[str, Path]]:
    """Likewise Caddy, and the certificate of its own authority."""
    port = free_port()
    values = {"models.example": f"https://localhost:{port}", "/srv/models": str(models)}
    text = replaced(documented("caddy", "Caddy"), values)
    # Not on the ports of the system, and the system's own trusted authorities stay as they are.
    options = f"{{\n admin off\n skip_install_trust\n auto_https disable_redirects\n https_port {port}\n}}\n"
    with caddy_server(program, folder, options + text, port) as authority:
        yield f"https://localhost:{port}", authority


def replaced(text: str, values: Mapping[str, str]) -> str:
    """The text with each of these words replaced, each of which it must have."""
    for old, new in values.items():
        assert re.search(re.escape(old), text), f"the page's text has no {old!r}"
        text = text.replace(old, new)
    return text


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here: no certificate for https")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
