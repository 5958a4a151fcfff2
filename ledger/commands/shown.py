"""How the commands that check something show what came of each step, and what others have written."""

from __future__ import annotations

from datetime import UTC, datetime

OK, FAILED, NOT_REACHED = "ok", "failed", "not reached"


def outcome(step: int, failed: int | None) -> str:
    """Of a step of a check that stops at the first that fails, if any does."""
    if failed is None or step < failed:
        return OK
    return FAILED if step == failed else NOT_REACHED


def step_line(step: int, came: str, says: str) -> str:
    return f"{step}. {came:11} {says}"


def printable(text: str) -> str:
    """A policy's names may be bytes that are no UTF-8, which no terminal takes."""
    return text.encode(errors="backslashreplace").decode()


def utc(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a witness may say what no calendar has
        return f"second {seconds}"
