"""A client that holds its own key writes real records; the service keeps them and cannot read one."""

from __future__ import annotations

import base64
import uuid
from secrets import token_bytes

import httpx
import numpy as np

from ledger import entry, keys, record, vault
from ledger.wire.v1 import entry_pb2
from modelfork.interaction import Interaction, Message
from modelfork.recording import Particulars, Writer, build_record, open_interaction
from modelfork.replay import advance, genesis
from modelfork.update import SIGNS, Update
from tests.modelfork.api.house import House

SAID = Interaction((Message("user", "Who is my dog?"),), "Bello", correction="Rex")


def test_a_fork_whose_key_the_service_never_sees(house: House, http: httpx.Client) -> None:
    origin = http.get("/v1/log/keys").json()["origin"]
    owner, root = keys.SigningKey(token_bytes(32)), token_bytes(32)
    state = genesis(token_bytes(32), 64)
    created = entry.ForkCreated(
        str(uuid.uuid4()), owner.public, entry.SELF, state.layout_digest, bytes(32), state.digest, 64
    )
    body = entry.encode_fork_created(created)
    signature = owner.sign(keys.signed_message(entry.FORK_CREATED, origin, body))
    control = entry_pb2.SignedControl(
        topic=entry.FORK_CREATED, body=body, signatures=[keys.signature_to_wire(signature)]
    )
    assert http.post("/v1/controls", content=control.SerializeToString()).status_code == 201
    update = Update(1000, SIGNS, np.tile(np.array([1, -1], np.int8), 32))
    after = advance(state, 2, update)
    writer = Writer(origin, created, owner, root)
    signed, salt = build_record(
        writer, 1, token_bytes(16), SAID, update, after.digest, Particulars("me", 1, 1), token_bytes
    )
    posted = http.post("/v1/records", content=record.encode_record(signed))
    assert (posted.status_code, posted.json()["version"]) == (201, 2)
    fork = created.fork_id

    # The owner reads it back and opens it; the service has nothing to open it with.
    kept = http.get(f"/v1/forks/{fork}/entries").json()["entries"][1]
    read = record.decode_body(entry.decode_entry(base64.b64decode(kept["entry"])).body)
    payloads = {int(kind): base64.b64decode(payload) for kind, payload in kept["payloads"].items()}
    assert open_interaction(read, payloads, vault.record_key(root, salt, 1), origin)[0] == SAID
    assert not house.keystore.holds_key(fork)
    assert house.keystore._row("SELECT 1 FROM salts WHERE fork_id=?", fork) is None
    for path in (path for path in house.data.iterdir() if path.is_file()):
        held = path.read_bytes()
        assert not any(secret in held for secret in (owner.seed, root, salt, b"Who is my dog?"))

    described = http.get(f"/v1/forks/{fork}").json()
    assert (described["custody"], described["version"], described["interactions"]) == ("self", 2, 1)
    assert "state_digest" not in described
    assert fork in http.get("/v1/forks").json()["forks"]
    assert fork not in [model["id"] for model in http.get("/v1/models").json()["data"]]
    size = house.ledger.size()
    ask = {"model": fork, "messages": [{"role": "user", "content": "Who?"}]}
    assert http.post("/v1/chat/completions", json=ask).status_code == 404
    assert http.get(f"/v1/forks/{fork}/history").status_code == 404
    verdict = {"record_id": read.record_id.hex(), "rating": 1}
    assert http.post(f"/v1/forks/{fork}/verdicts", json=verdict).status_code == 404
    told = {"messages": ask["messages"], "answer": "Rex"}
    assert http.post(f"/v1/forks/{fork}/interactions", json=told).status_code == 404
    assert house.ledger.size() == size
