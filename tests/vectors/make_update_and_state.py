"""Writes update.json and state.json in plain Python integers and strings of bits: no numpy, nothing of forkledger.

    python3 tests/vectors/make_update_and_state.py

Run once, by hand; what it wrote is committed and stays.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

EMPTY, SIGNS, SPARSE, INT4, INT8, SIGN_SUMS = 1, 2, 3, 4, 5, 6
HERE = Path(__file__).parent


def numbers(seed: int, count: int) -> list[int]:
    """Numbers from 0 to 2^32 - 1 that follow from a seed."""
    return [int.from_bytes(hashlib.sha256(b"%d %d" % (seed, at)).digest()[:4], "big") for at in range(count)]


def written(bits: str) -> str:
    """Hex of a string of bits, the first one in the lowest place of the first byte."""
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8)).hex()


def lowest_first(number: int, width: int) -> str:
    return format(number % (1 << width), f"0{width}b")[::-1]


def packed(encoding: int, q: list[int]) -> str:
    if encoding == EMPTY:
        return ""
    if encoding == SIGNS:
        return written("".join("1" if number == 1 else "0" for number in q))
    if encoding == SIGN_SUMS:
        return written("".join(lowest_first([-3, -1, 1, 3].index(number), 2) for number in q))
    if encoding in (INT4, INT8):
        return written("".join(lowest_first(number, 4 if encoding == INT4 else 8) for number in q))
    positions = [at for at, number in enumerate(q) if number]
    upper = ["0"] * (len(positions) + (len(q) - 1) // 16)
    for index, position in enumerate(positions):
        upper[index + position // 16] = "1"
    low = "".join(lowest_first(position % 16, 4) for position in positions)
    return written("".join(upper) + low + "".join("1" if q[at] == 1 else "0" for at in positions))


def q_of(encoding: int, dimension: int, seed: int) -> list[int]:
    drawn = numbers(seed, dimension)
    if encoding == SPARSE:
        some = sorted(range(dimension), key=lambda at: drawn[at])[: max(1, dimension // 16)]
        return [0 if at not in some else 1 if drawn[at] % 2 else -1 for at in range(dimension)]
    values = {
        EMPTY: [0], SIGNS: [-1, 1], SIGN_SUMS: [-3, -1, 1, 3], INT4: range(-7, 8), INT8: range(-127, 128),
    }[encoding]  # fmt: skip
    return [values[number % len(values)] for number in drawn]


def main() -> None:
    updates: list[dict[str, Any]] = []
    for encoding in (EMPTY, SIGNS, SPARSE, INT4, INT8, SIGN_SUMS):
        for dimension in (1, 16, 50, 100):
            q = q_of(encoding, dimension, 100 * encoding + dimension)
            step = 0 if encoding == EMPTY else numbers(dimension, 1)[0] % (1 << 24)
            updates.append({"encoding": encoding, "step": step, "q": q, "packed": packed(encoding, q)})
    origin = "tests/vectors/make_update_and_state.py: plain Python integers, no code of forkledger"
    (HERE / "update.json").write_text(json.dumps({"origin": origin, "updates": updates}) + "\n")

    layout = hashlib.sha256(b"a layout").digest()
    state = [0] * 50
    states: list[dict[str, Any]] = []
    learned: list[dict[str, Any]] = [update for update in updates if len(update["q"]) == 50]
    for update in [None, *learned]:
        if update is not None:
            state = [number + update["step"] * q for number, q in zip(state, update["q"], strict=True)]
        message = b"forkledger/state/v1\0" + layout + len(state).to_bytes(8, "little")
        message += b"".join(number.to_bytes(8, "little", signed=True) for number in state)
        states.append({"state": state, "digest": hashlib.sha256(message).hexdigest()})
    found = {
        "origin": origin,
        "layout_digest": layout.hex(),
        "updates": "those of update.json with 50 numbers, in order",
    }
    (HERE / "state.json").write_text(json.dumps({**found, "states": states}) + "\n")


if __name__ == "__main__":
    main()
