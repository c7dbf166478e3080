"""Logs lowering: a process sends its records to the one that started it, and a lowered tier's kernels are logged."""

from __future__ import annotations

import json
import logging
from multiprocessing.connection import Connection
from typing import Any

from mlcweb.compile.tier import LoweredTier
from mlcweb.debug import CODE, ROOT, logger
from mlcweb.plan import KERNEL_MARK

_log = logger("compile.tier")
_RECORD = "mlcweb-log"
_KEPT = ("name", "levelno", "levelname", "created", "relativeCreated", "process")


class SendingHandler(logging.Handler):
    """Sends each record as a message of its own: one written to a shared stderr could be cut by another's."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    @classmethod
    def install(cls, connection: Connection) -> None:
        """Let this process's logs, and no other handler's, go through ``connection``."""
        root = logging.getLogger(ROOT)
        root.handlers, root.propagate = [cls(connection)], False

    def emit(self, record: logging.LogRecord) -> None:
        facts = {key: getattr(record, key) for key in _KEPT}
        self._connection.send_bytes(json.dumps({_RECORD: {**facts, "msg": record.getMessage()}}).encode())


def received_record(message: Any) -> logging.LogRecord | None:
    """The record in what a ``SendingHandler`` sent; None where it is something else."""
    facts = message.get(_RECORD) if isinstance(message, dict) else None
    return None if facts is None else logging.makeLogRecord(facts)


def log_tier(lowered: LoweredTier) -> None:
    """Log a tier's WGSL and launches, wherever the tier came from."""
    if not _log.isEnabledFor(CODE):
        return
    name, plan = lowered.tier.name, lowered.plan
    for section in lowered.wgsl.split(KERNEL_MARK)[1:]:
        _log.log(CODE, "tier %s: kernel %s", name, section.rstrip())
    buffers, kernels = plan["buffers"], plan["kernels"]
    for entry, facts in plan["entries"].items():
        for number, launch in enumerate(facts["launches"]):
            bound = ", ".join(buffers[at]["name"] for at in launch["args"])
            _log.log(
                CODE, "tier %s: %s %d: %s(%s)", name, entry, number, kernels[launch["kernel"]]["name"], bound
            )
