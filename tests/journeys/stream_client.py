"""A client of the stream, in a process of its own when it is to be killed.

`python -m tests.journeys.stream_client URL KEY FRAMES KEPT`:
FRAMES has the records to send, each after its length (4 bytes); KEPT gets one line an answer, and is where it begins.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

IN_FLIGHT = 64


def write_frames(path: Path, frames: Sequence[bytes]) -> None:
    path.write_bytes(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))


def read_frames(path: Path) -> list[bytes]:
    data, frames = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:4], "big")
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames


def kept(path: Path) -> list[dict[str, Any]]:
    """The answers that were written down: a line that the kill cut short is none."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def opened(url: str, api_key: str) -> ClientConnection:
    return connect(
        url.replace("http", "ws", 1) + "/v1/records/stream",
        additional_headers={"authorization": f"Bearer {api_key}"}, compression=None, max_queue=None,
    )  # fmt: skip


def send(url: str, api_key: str, frames: Sequence[bytes], path: Path) -> None:
    """Send what was not answered yet, and write down each answer as it comes. Raises ConnectionClosed."""
    known = kept(path)
    path.write_text("".join(json.dumps(answer) + "\n" for answer in known))
    frames = frames[len(known) :]
    room = threading.Semaphore(IN_FLIGHT)
    with opened(url, api_key) as stream, path.open("a") as out:

        def push() -> None:
            for frame in frames:
                room.acquire()
                try:
                    stream.send(frame)
                except Exception:  # the reader finds it closed too
                    return

        pushing = threading.Thread(target=push, daemon=True)
        pushing.start()
        for n in range(len(frames)):
            answer = json.loads(stream.recv())
            assert answer["n"] == n
            out.write(json.dumps(answer) + "\n")
            out.flush()
            os.fsync(out.fileno())
            room.release()
        pushing.join()


if __name__ == "__main__":
    send(sys.argv[1], sys.argv[2], read_frames(Path(sys.argv[3])), Path(sys.argv[4]))
