"""Publishes in a process of its own, which a test may kill: forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from typing import Any

from mlcweb.errors import MlcwebError
from mlcweb.publish import PublishRequest, publish

PUBLISHED, REFUSED = 0, 3
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.publisher", "mlcweb.publish.stores", "obstore.store"])


def start_publisher(request: PublishRequest, environment: Mapping[str, str]) -> ForkServerProcess:
    """Its exit status is PUBLISHED, REFUSED for a known error, or that of its end by a signal or a defect."""
    process = _CONTEXT.Process(target=_publish, args=(request, dict(environment)), daemon=True)
    process.start()
    return process


def _publish(request: PublishRequest, environment: dict[str, str]) -> None:
    from mlcweb.publish import stores

    os.environ.update(environment)
    few: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
    stores._PATIENT.update(few)  # a test does not wait for minutes
    try:
        publish(request)
    except MlcwebError:
        os._exit(REFUSED)
    os._exit(PUBLISHED)
