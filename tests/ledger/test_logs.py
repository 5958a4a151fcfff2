"""Logs as machines read them: an object a line, whatever is in it, and of an error no word that it quotes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.logs import JsonLines, write_json_lines


def record(message: str = "said", *values: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("forkledger.test", logging.WARNING, "here.py", 1, message, values, None)
    vars(made).update(fields)
    return made


def test_a_line_has_time_level_logger_message_and_the_fields() -> None:
    made = record("size %d", 8, event="witness", known_size=7)
    made.created = 1_700_000_000.25
    assert json.loads(JsonLines().format(made)) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "warning",
        "logger": "forkledger.test",
        "message": "size 8",
        "event": "witness",
        "known_size": 7,
    }


@given(st.text(), st.text())
def test_a_record_is_one_line_whatever_it_says(message: str, field: str) -> None:
    line = JsonLines().format(record("%s", message, said=field))
    assert len(line.splitlines() if message.isascii() and field.isascii() else line.split("\n")) == 1
    read = json.loads(line)
    assert (read["message"], read["said"]) == (message, field)


def test_no_field_takes_the_place_of_what_every_line_has() -> None:
    assert json.loads(JsonLines().format(record(level="nothing", time="never")))["level"] == "warning"


def test_of_an_error_only_type_and_place_are_written() -> None:
    try:
        raise RuntimeError("a secret")
    except RuntimeError as error:
        made = record()
        made.exc_info = (RuntimeError, error, error.__traceback__)
    line = JsonLines().format(made)
    assert json.loads(line)["error"].startswith("RuntimeError at ")
    assert "secret" not in line
    assert "color" not in JsonLines().format(record(color_message="a secret"))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What a process that was told to write JSON lines writes. Logging is as before afterwards."""
    heard, root = StringIO(), logging.getLogger()
    before = list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in (None, "forkledger", "uvicorn", "uvicorn.error")}
    root.handlers.clear()
    monkeypatch.setattr("sys.stderr", heard)
    for server in ("uvicorn", "uvicorn.error"):  # a server that another test ran in this process may have set it apart
        monkeypatch.setattr(logging.getLogger(server), "propagate", True)
        logging.getLogger(server).setLevel(logging.NOTSET)
    write_json_lines()
    yield heard
    root.handlers[:] = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_other_libraries_are_heard_from_a_warning_on(heard: StringIO) -> None:
    logging.getLogger("forkledger.test").info("one")
    logging.getLogger("httpx").info("HTTP Request: GET https://witness.example/a-path")
    logging.getLogger("httpx").warning("two")
    assert [json.loads(line)["message"] for line in heard.getvalue().splitlines()] == ["one", "two"]


def test_what_uvicorn_says_of_the_path_of_a_stream_is_left_out(heard: StringIO) -> None:
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "1.2.3.4:5", "/v1?key=secret")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    assert [json.loads(line)["message"] for line in heard.getvalue().splitlines()] == ["Started server process [7]"]
