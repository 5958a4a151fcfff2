"""Who may add an entry to a fork."""

import pytest

from ledger import entry
from ledger.errors import BadSignature, Refused
from ledger.keys import signed_message
from ledger.record import LARGEST_DIMENSION
from ledger.rights import check_fork_created, check_signer, rights_from
from tests.ledger.written import ORIGIN, Writer

OWNER, OTHER = Writer(1), Writer(2)
CONTROL = OWNER.control()
BODY = b"any body"
TOPIC = entry.USER_TRAINING_RECORD


def test_the_creation_of_a_fork_is_signed_by_the_owner_whom_it_names() -> None:
    created = check_fork_created(ORIGIN, OWNER.fork_id, CONTROL.body, CONTROL.signatures)
    rights = rights_from(created)
    assert (rights.owner_key, rights.authority) == (OWNER.key.public, 1)


def test_the_creation_of_a_fork_signed_by_another_is_refused() -> None:
    with pytest.raises(BadSignature):
        check_fork_created(ORIGIN, OWNER.fork_id, CONTROL.body, OTHER.control(CONTROL.body).signatures)


def test_the_creation_of_another_fork_is_refused() -> None:
    with pytest.raises(Refused, match="another fork"):
        check_fork_created(ORIGIN, OTHER.fork_id, CONTROL.body, CONTROL.signatures)


def test_a_fork_too_large_to_replay_is_refused() -> None:
    control = OWNER.control(entry.encode_fork_created(OWNER.creation(dimension=LARGEST_DIMENSION + 1)))
    with pytest.raises(Refused, match="dimension"):
        check_fork_created(ORIGIN, OWNER.fork_id, control.body, control.signatures)


def test_the_owner_signs_for_one_topic_and_one_origin() -> None:
    rights = rights_from(OWNER.creation())
    signature = OWNER.key.sign(signed_message(TOPIC, ORIGIN, BODY))
    check_signer(rights, ORIGIN, TOPIC, BODY, (signature,))
    for origin, topic, body in (
        ("example.org/other", TOPIC, BODY),
        (ORIGIN, entry.FORK_CREATED, BODY),
        (ORIGIN, TOPIC, BODY + b"!"),
    ):
        with pytest.raises(BadSignature):
            check_signer(rights, origin, topic, body, (signature,))


@pytest.mark.parametrize("count", [0, 2, 3])
def test_exactly_one_signature_is_taken(count: int) -> None:
    signature = OWNER.key.sign(signed_message(TOPIC, ORIGIN, BODY))
    with pytest.raises(BadSignature, match=f"got {count}"):
        check_signer(rights_from(OWNER.creation()), ORIGIN, TOPIC, BODY, (signature,) * count)
