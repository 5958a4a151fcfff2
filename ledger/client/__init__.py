"""A client of the service, with the service's own verbs: `Client` waits, `AsyncClient` is awaited.

trust.py      whose word is believed: the pinned keys
call.py       a request, and what reads its answer; when the same is asked again
refusal.py    from an error object back to the ledger's own error
answers.py    what an answer says, once it was checked
verbs.py      the requests, one function a verb, for both clients
waiting.py    `Client`
awaited.py    `AsyncClient`

An answer is a frozen dataclass, a refusal the error that the ledger itself raises. Nothing that arrives is believed
beyond the pinned keys. Where none is pinned it is compared with what was asked, and who signed it is not known.
"""

from ledger.client.answers import (
    Anchor,
    Anchors,
    Growth,
    Head,
    Included,
    Kept,
    LogKeys,
    Outcome,
    Proven,
    Recorded,
    SignedCheckpoint,
)
from ledger.client.awaited import AsyncClient
from ledger.client.waiting import Client

__all__ = [
    "Anchor", "Anchors", "AsyncClient", "Client", "Growth", "Head", "Included", "Kept", "LogKeys", "Outcome", "Proven",
    "Recorded", "SignedCheckpoint",
]  # fmt: skip
