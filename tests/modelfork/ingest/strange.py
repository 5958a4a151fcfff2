"""JSON that is almost what a reader expects: its words in the wrong places, its places filled with something else."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_WORDS = (
    "messages", "role", "content", "user", "assistant", "system", "tool", "text", "type", "answer", "rating",
    "correction", "store", "request", "response", "choices", "message", "error", "mapping", "current_node", "parent",
    "author", "parts", "content_type", "metadata", "recipient", "channel", "weight", "n0", "n1", "n2",
)  # fmt: skip
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.just(10**400)
    | st.floats(allow_nan=False)
    | st.sampled_from([*_WORDS, "", " ", "\ud800", "\x00", "\x1b[2J"])
)
VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4)
)


def nearly(value: Any) -> st.SearchStrategy[Any]:
    """The value with some of its parts replaced, left out or repeated."""
    if isinstance(value, dict):
        whole = st.fixed_dictionaries({}, optional={name: nearly(part) for name, part in value.items()})
        return st.one_of(*[whole] * 9, VALUES)
    if isinstance(value, list):
        return st.one_of(*[st.lists(st.one_of(*map(nearly, value)) if value else VALUES, max_size=4)] * 9, VALUES)
    return st.one_of(*[st.just(value)] * 9, VALUES)
