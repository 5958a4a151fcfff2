"""ChatGPT data exports of invented conversations, in the form that real ones have."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any


def message(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1706745600.5,
        "content": {"content_type": "text", "parts": list(parts)},
        "status": "finished_successfully",
        "end_turn": True,
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        "channel": None,
    } | more


def conversation(
    *messages: dict[str, Any] | None, began: float | None = 1706745600.25, title: str = ""
) -> dict[str, Any]:
    """One path from the root, whose node has no message, to the last."""
    mapping: dict[str, Any] = {}
    for at, said in enumerate((None, *messages)):
        mapping[f"n{at}"] = {"id": f"n{at}", "message": said, "parent": f"n{at - 1}" if at else None, "children": []}
    return {"title": title, "create_time": began, "mapping": mapping, "current_node": f"n{len(messages)}"}


def talk(*texts: str, began: float | None = 1706745600.25) -> dict[str, Any]:
    roles = ("user", "assistant")
    return conversation(*(message(roles[at % 2], text) for at, text in enumerate(texts)), began=began)


def write_archive(path: Path, **parts: Any) -> Path:
    """A zip with the parts under their names, `_` for `-`, and what else an export has."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chat.html", "<html>")
        archive.writestr("user.json", "{}")
        for name, value in parts.items():
            written = value if isinstance(value, bytes) else json.dumps(value)
            archive.writestr(f"{name.replace('_', '-')}.json", written)
    return path
