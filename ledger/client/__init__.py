"""A client of the service, with the service's own verbs: `Client` waits, `AsyncClient` is awaited.

trust.py         whose word is believed: the pinned keys
call.py          a request, and what reads its answer; when the same is asked again
refusal.py       from an error object back to the ledger's own error
answers.py       what an answer says, once it was checked
verbs.py         the requests, one function a verb, for both clients
interactions.py  what an app sends that generates elsewhere, and what it is told: requests and answers
streaming.py     a stream of them: what is on its way, and what is sent again
waiting.py       `Client`
awaited.py       `AsyncClient`

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
from ledger.client.interactions import (
    Acknowledged,
    Interaction,
    Learned,
    Message,
    Noted,
    Remembered,
    ServedFork,
    User,
    Verdict,
)
from ledger.client.waiting import Client

__all__ = [
    "Acknowledged", "Anchor", "Anchors", "AsyncClient", "Client", "Growth", "Head", "Included", "Interaction", "Kept",
    "Learned", "LogKeys", "Message", "Noted", "Outcome", "Proven", "Recorded", "Remembered", "ServedFork",
    "SignedCheckpoint", "User", "Verdict",
]  # fmt: skip
