"""Logs for machines: one JSON object a line, on standard error. Never content, keys or tokens.

Whoever logs names what they say in the message, and the rest as fields (`extra`). Of an error its type and place are
written and not its message, which may quote what came.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any

_OURS = "forkledger"
# What Python and uvicorn keep with every record. `color_message` is the message once more, for a terminal.
_NO_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger` and `message`, and then the fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            said["error"] = place_of(record.exc_info[1])
        return json.dumps({**dict(_fields(record)), **said}, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for name, value in vars(record).items():
        if name not in _NO_FIELDS:
            yield name, value


def place_of(error: BaseException) -> str:
    """Type and place of an error, for a log."""
    frames = extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__


def write_json_lines() -> None:
    """From now on this process logs so: our own and uvicorn's from INFO on, other libraries' from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(_tells_no_path)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in (_OURS, "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)


def _tells_no_path(record: logging.LogRecord) -> bool:
    """uvicorn tells of each WebSocket with its path and query, also where its access log is off."""
    return not (record.name.startswith("uvicorn") and '"WebSocket %s"' in str(record.msg))
