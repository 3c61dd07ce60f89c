"""The log: one JSON object a line on the error output, made of known keys only, so that no personal data slips in."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog

ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "logger",
        "address", "batches", "code", "detail", "duration_ms", "exception", "method", "place", "reason", "records",
        "reference", "request_id", "service", "signal", "status", "workers",
    }
)  # fmt: skip
"""What a line may hold. A key outside is dropped and counted: widen this list only for what can never be personal."""


def only_allowed(logger: object, name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: keeps the allowed keys, drops empty ones."""
    kept = {key: value for key, value in line.items() if key in ALLOWED and value is not None}
    if dropped := sum(key not in ALLOWED for key in line):
        kept["dropped_keys"] = dropped
    return kept


class _Foreign(logging.Handler):
    """Lines of the libraries: their place and level, never their text, which may repeat what a caller sent."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(
            record.levelno,
            "library",
            logger=record.name,
            place=f"{record.filename}:{record.lineno}",
            exception=record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None,
        )


def place_of(trace: TracebackType | None) -> str:
    """Where an exception was raised, `FILE:LINE`: all that is told of it, beside its type. Its text may be anything."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _thread_ended(by: threading.ExceptHookArgs) -> None:
    structlog.get_logger("solidarite.threads").error(
        "unforeseen", exception=by.exc_type.__name__, place=place_of(by.exc_traceback)
    )


def configure_logs(level: str) -> None:
    """Write structured lines from that level on; libraries from warnings on; threads that something unforeseen ends."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            only_allowed,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    threading.excepthook = _thread_ended
    root = logging.getLogger()
    root.handlers = [_Foreign()]
    root.setLevel(logging.WARNING)
