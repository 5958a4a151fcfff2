"""`forkledger anchor register` and `owner` on a real chain: asked for, attested, public for good, read by anybody."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from typer.testing import CliRunner, Result

from ledger import entry
from ledger.anchor.deploy import transact
from ledger.anchor.evm import FORK_REGISTRY, EvmNode, encode_call
from ledger.anchor.evmreader import EvmReader
from ledger.anchor.place import Place, read_place
from ledger.anchor.registration import (
    ATTESTATION,
    CONSENT,
    PUBLIC,
    Naming,
    Registration,
    check_naming,
    fork_id_hash,
    ledger_message,
    sign_naming,
    typed,
)
from ledger.cli import app
from ledger.commands.anchor_fork import ELSEWHERE
from ledger.keys import SigningKey, signed_message
from ledger.main import open_house
from tests.anvil import Anvil, running
from tests.ledger.anchor.anchoring import CAP
from tests.ledger.written import Writer, drawn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OWNER, BUYER, STRANGER = (Account.from_key(sha256(name).digest()) for name in (b"owner", b"buyer", b"stranger"))
REGISTRY = bytes.fromhex(FORK_REGISTRY.address[2:])
LATER = 4_000_000_000  # seconds: after the end of any test


@dataclass
class Service:
    """A house with an app's forks in service custody, and its log on a chain."""

    node: Anvil
    data: Path
    keys: Path

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--data", str(self.data), "--keys", str(self.keys)])

    def anchor(self, *words: str) -> Result:
        return self.run("anchor", *words, "--chain-rpc", self.node.url)

    def shown(self, fork: str, owner: Any = OWNER, *more: str) -> dict[str, Any]:
        """What `--show-consent` prints for the owner's wallet."""
        done = self.run("anchor", "register", fork, "--owner", owner.address, "--show-consent", *more)
        assert done.exit_code == 0, done.output
        assert PUBLIC in done.stderr
        return dict(json.loads(done.stdout))

    def register(self, fork: str, owner: Any = OWNER, signer: Any = None, *more: str) -> Result:
        """As an app does it for a person: shown, signed by their wallet, sent."""
        wanted = self.shown(fork, owner)
        return self.send(fork, owner, signed(wanted, signer or owner), wanted["message"]["deadline"], *more)

    def send(self, fork: str, owner: Any, consent: str, deadline: int, *more: str) -> Result:
        given = ("--owner", owner.address, "--consent", consent, "--deadline", str(deadline))
        return self.anchor("register", fork, *given, "--public-for-good", *more)

    def owner(self, fork: str, *more: str) -> Result:
        return self.anchor("owner", fork, *more)

    def sent(self) -> int:
        """Transactions of all accounts, so far."""
        return int(self.node.call("eth_blockNumber"), 16)

    @property
    def place(self) -> Place:
        place = read_place(self.data / "anchor.json")
        assert place is not None
        return place

    def fork(self, number: int) -> str:
        """A new fork in service custody."""
        fork_id = str(uuid.UUID(bytes=drawn(16, "service fork", number), version=4))
        ledger, keystore, _ = open_house(self.data, self.keys)
        owner = keystore.make_fork_keys(fork_id, "app-1").owner
        self._create(ledger, replace(Writer(0).creation(), fork_id=fork_id, owner_key=owner.public), owner)
        keystore.close()
        return fork_id

    def key_of(self, fork: str) -> SigningKey:
        ledger, keystore, _ = open_house(self.data, self.keys)
        ledger.close()
        try:
            return keystore.fork_keys(fork).owner
        finally:
            keystore.close()

    def own_fork(self, number: int) -> Writer:
        """A new fork whose owner keeps its key."""
        ledger, keystore, _ = open_house(self.data, self.keys)
        keystore.close()
        writer = Writer(number, ledger.origin)
        self._create(ledger, writer.creation(), writer.key)
        return writer

    def _create(self, ledger: Any, created: entry.ForkCreated, key: SigningKey) -> None:
        body = entry.encode_fork_created(created)
        signature = key.sign(signed_message(entry.FORK_CREATED, ledger.origin, body))
        ledger.create_fork(entry.SignedControl(entry.FORK_CREATED, body, (signature,)))
        ledger.close()

    def naming(self, fork: str, owner: Any = OWNER) -> Naming:
        return Naming(
            self.place.chain_id, REGISTRY, self.place.contract, self.place.log_id, fork_id_hash(fork),
            bytes.fromhex(owner.address[2:]),
        )  # fmt: skip

    def as_owner(self, key: bytes, call: bytes) -> None:
        node = EvmNode(self.node.url, key, 10)
        self.node.call("anvil_setBalance", node.sender, hex(10**20))
        transact(node, FORK_REGISTRY.address, call, CAP, self.node.mine)
        node.close()

    def lie(self, registration: Registration) -> None:
        """An operator's anchorer attests what it did not check."""
        anchorer = bytes.fromhex((self.keys / "anchor.key").read_text())
        node = EvmNode(self.node.url, anchorer, 10)
        attestation = node.sign_typed(typed(ATTESTATION, registration))
        node.close()
        naming = registration.naming
        consent = bytes.fromhex(signed(typed(CONSENT, registration), OWNER)[2:])
        given = (
            naming.ledger_anchor, naming.log_id, naming.fork_id_hash, naming.owner, registration.ledger_key,
            registration.ledger_signature, registration.deadline,
        )  # fmt: skip
        self.as_owner(STRANGER.key, encode_call("register", given, consent, attestation, of=FORK_REGISTRY))


def signed(wanted: dict[str, Any], account: Any) -> str:
    """As a wallet's eth_signTypedData_v4 answers."""
    return "0x" + bytes(account.sign_message(encode_typed_data(full_message=wanted)).signature).hex()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("house")
    with running() as node:
        service = Service(node, folder / "data", folder / "keys")
        ledger, keystore, _ = open_house(service.data, service.keys)
        ledger.close()
        keystore.close()
        (account,) = [
            line.split(": ")[1]
            for line in service.anchor("deploy").stdout.splitlines()
            if line.startswith("account that anchors")
        ]
        node.call("anvil_setBalance", account, hex(10**20))
        assert service.anchor("deploy").exit_code == 0
        yield service


@pytest.fixture
def service(house: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """With the registry on its chain; what a test does there is undone after it."""
    monkeypatch.setattr(EvmReader, "pause", 0.0)
    before = house.node.call("evm_snapshot")
    assert house.anchor("deploy", "--registry").exit_code == 0
    yield house
    house.node.call("evm_revert", before)


forks: Callable[[], int] = iter(range(100, 10**6)).__next__


# --- the whole way ---


def test_a_person_is_made_the_owner_of_their_fork_on_the_chain(service: Service) -> None:
    fork = service.fork(forks())
    done = service.register(fork, OWNER, None, "--json")
    assert done.exit_code == 0, done.output
    assert PUBLIC in done.stderr
    told = json.loads(done.stdout)
    receipt = service.node.call("eth_getTransactionReceipt", told["transaction"])
    assert int(receipt["blockNumber"], 16) == told["block"]
    assert told["owner"] == OWNER.address.lower()

    read = service.owner(fork, "--json")
    assert read.exit_code == 0, read.output
    said = json.loads(read.stdout)
    assert (said["reading"], said["owner"], said["transfers"]) == ("registered", OWNER.address.lower(), 0)
    assert said["chain_fork_id"] == told["chain_fork_id"]
    assert said["transaction"] == told["transaction"]
    assert said["first_owner"] == OWNER.address.lower()
    # What is printed is enough to check it again.
    naming = service.naming(fork)
    assert bytes.fromhex(said["message"][2:]) == ledger_message(naming)
    assert bytes.fromhex(said["ledger_key"][2:]) == service.key_of(fork).public.raw
    check_naming(naming, *(bytes.fromhex(said[each][2:]) for each in ("ledger_key", "ledger_signature")))

    shown = service.owner(fork)
    assert "reads as         registered: the fork's key named this owner" in shown.stdout
    assert PUBLIC in shown.stdout


def test_a_transfer_on_the_chain_reads_as_pending(service: Service) -> None:
    fork = service.fork(forks())
    assert service.register(fork).exit_code == 0
    named = service.naming(fork).chain_fork_id
    service.as_owner(OWNER.key, encode_call("transfer", named, BUYER.address, of=FORK_REGISTRY))
    done = service.owner(fork, "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["reading"], said["owner"], said["transfers"]) == ("pending", BUYER.address.lower(), 1)
    assert said["first_owner"] == OWNER.address.lower()
    service.as_owner(BUYER.key, encode_call("transfer", named, OWNER.address, of=FORK_REGISTRY))
    assert json.loads(service.owner(fork, "--json").stdout)["reading"] == "pending"


def test_the_registry_is_put_on_a_chain_once(service: Service) -> None:
    before = service.sent()
    again = service.anchor("deploy", "--registry", "--json")
    assert json.loads(again.stdout) == {"registry": FORK_REGISTRY.address, "chain_id": 31337}
    assert service.sent() == before


# --- a false attestation ---


def test_an_attestation_of_what_the_forks_key_never_signed_is_found(service: Service) -> None:
    fork = service.fork(forks())
    made = sign_naming(service.naming(fork), service.key_of(fork), LATER)
    service.lie(replace(made, ledger_signature=bytes(64)))
    done = service.owner(fork, "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["reading"] == "false"
    assert "does not hold" in said["why"]
    anchorer = Account.from_key((service.keys / "anchor.key").read_text().strip()).address
    assert said["attester"] == anchorer.lower()
    shown = service.owner(fork)
    assert shown.exit_code == 1
    assert "against the operator" in shown.stdout
    assert said["message"] in shown.stdout


def test_an_attestation_of_another_key_than_the_forks_is_found(service: Service) -> None:
    fork = service.fork(forks())
    service.lie(sign_naming(service.naming(fork), Writer(forks()).key, LATER))
    done = service.owner(fork, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["why"] == "the recorded key never was the fork's"


def test_a_lie_stays_a_lie_after_a_transfer(service: Service) -> None:
    fork = service.fork(forks())
    service.lie(sign_naming(service.naming(fork), Writer(forks()).key, LATER))
    named = service.naming(fork).chain_fork_id
    service.as_owner(OWNER.key, encode_call("transfer", named, BUYER.address, of=FORK_REGISTRY))
    assert service.owner(fork).exit_code == 1


# --- refusals: nothing is sent ---


def refused(service: Service, why: str, done: Result, before: int, code: int = 3) -> None:
    assert done.exit_code == code, done.output
    assert why in done.stderr
    assert service.sent() == before


def test_nothing_is_sent_that_was_not_said_to_be_public_for_good(service: Service) -> None:
    fork, before = service.fork(forks()), service.sent()
    wanted = service.shown(fork)
    given = ("--owner", OWNER.address, "--consent", signed(wanted, OWNER))
    done = service.anchor("register", fork, *given, "--deadline", str(wanted["message"]["deadline"]))
    refused(service, "expected --public-for-good; nothing was sent", done, before)
    assert PUBLIC in done.stderr
    refused(service, "no fork 0x", service.owner(fork), before)


def test_nobody_is_made_an_owner_without_their_consent(service: Service) -> None:
    fork, before = service.fork(forks()), service.sent()
    without = service.anchor("register", fork, "--owner", OWNER.address, "--public-for-good")
    refused(service, "--consent", without, before, code=2)
    refused(service, "BadSignature()", service.register(fork, OWNER, signer=STRANGER), before)
    wanted = service.shown(fork)
    late = service.send(fork, OWNER, signed(wanted, OWNER), wanted["message"]["deadline"] + 1)
    refused(service, "BadSignature()", late, before)
    stolen = service.send(fork, STRANGER, signed(wanted, OWNER), wanted["message"]["deadline"])
    refused(service, "BadSignature()", stolen, before)
    for other in (service.fork(forks()), service.fork(forks())):
        elsewhere = service.send(other, OWNER, signed(wanted, OWNER), wanted["message"]["deadline"])
        refused(service, "BadSignature()", elsewhere, before)


def test_a_consent_counts_until_its_deadline(service: Service) -> None:
    fork, before = service.fork(forks()), service.sent()
    wanted = service.shown(fork, OWNER, "--deadline", "1700000000")
    assert wanted["message"]["deadline"] == 1_700_000_000
    done = service.send(fork, OWNER, signed(wanted, OWNER), 1_700_000_000)
    refused(service, "Expired(deadline 1700000000)", done, before)


def test_a_fork_is_registered_once(service: Service) -> None:
    fork = service.fork(forks())
    assert service.register(fork).exit_code == 0
    before = service.sent()
    for owner in (OWNER, BUYER):
        refused(service, "ForkExists(", service.register(fork, owner), before)


def test_the_service_signs_only_for_a_fork_whose_key_it_holds(service: Service) -> None:
    writer, before = service.own_fork(forks()), service.sent()
    for fork in (writer.fork_id, str(uuid.UUID(int=5, version=4))):
        done = service.send(fork, OWNER, "0x" + "11" * 65, LATER)
        refused(service, f"fork {fork}: the service holds no key of it", done, before)
        shown = service.run("anchor", "register", fork, "--owner", OWNER.address, "--show-consent")
        refused(service, "holds no key of it", shown, before)


def test_a_key_that_is_not_the_forks_in_the_ledger_signs_nothing(service: Service) -> None:
    """The key store holds a key for a fork that another's key created."""
    writer = service.own_fork(forks())
    ledger, keystore, _ = open_house(service.data, service.keys)
    ledger.close()
    keystore.make_fork_keys(writer.fork_id, "app-1")
    keystore.close()
    before = service.sent()
    done = service.send(writer.fork_id, OWNER, "0x" + "11" * 65, LATER)
    refused(service, "another key came", done, before)
    shown = service.run("anchor", "register", writer.fork_id, "--owner", OWNER.address, "--show-consent")
    refused(service, "another key came", shown, before)


def test_an_anchorer_that_was_revoked_attests_no_more(service: Service) -> None:
    fork = service.fork(forks())
    anchorer = bytes.fromhex((service.keys / "anchor.key").read_text())
    node = EvmNode(service.node.url, anchorer, 10)
    revoke = encode_call("setAnchorer", service.place.log_id, node.sender, False)
    transact(node, f"0x{service.place.contract.hex()}", revoke, CAP, service.node.mine)
    node.close()
    before = service.sent()
    refused(service, "NotAnchorer(", service.register(fork), before)


def test_a_transaction_under_way_is_not_pushed_aside(service: Service) -> None:
    fork = service.fork(forks())
    wanted = service.shown(fork)
    anchorer = Account.from_key((service.keys / "anchor.key").read_text().strip()).address
    service.node.call("evm_setAutomine", False)
    try:
        service.node.call("anvil_impersonateAccount", anchorer)
        service.node.call("eth_sendTransaction", {"from": anchorer, "to": OWNER.address, "value": "0x1"})
        before = service.sent()
        done = service.send(fork, OWNER, signed(wanted, OWNER), wanted["message"]["deadline"])
        refused(service, "has a transaction under way", done, before)
    finally:
        service.node.call("anvil_stopImpersonatingAccount", anchorer)
        service.node.call("evm_setAutomine", True)
        service.node.mine()


def test_only_the_registry_of_this_package_is_sent_to_and_read(service: Service) -> None:
    fork, before = service.fork(forks()), service.sent()
    other = f"0x{service.place.contract.hex()}"
    wanted = service.shown(fork, OWNER, "--registry", other)
    assert wanted["domain"]["verifyingContract"] == other
    consent, deadline = signed(wanted, OWNER), wanted["message"]["deadline"]
    refused(
        service,
        "expected the code of ForkRegistry",
        service.send(fork, OWNER, consent, deadline, "--registry", other),
        before,
    )
    refused(service, "expected the code of ForkRegistry", service.owner(fork, "--registry", other), before)


def test_a_registry_in_another_place_is_said_to_be_one(service: Service) -> None:
    """Its code is ours; what its storage began with is not known."""
    fork = service.fork(forks())
    placed = json.loads(service.anchor("deploy", "--registry", "--plainly", "--json").stdout)["registry"]
    wanted = service.shown(fork, OWNER, "--registry", placed)
    consent, deadline = signed(wanted, OWNER), wanted["message"]["deadline"]
    assert service.send(fork, OWNER, consent, deadline, "--registry", placed).exit_code == 0
    read = service.owner(fork, "--registry", placed)
    assert read.exit_code == 0
    assert ELSEWHERE in read.stdout
    refused(service, "no fork 0x", service.owner(fork), service.sent())


def test_another_chain_than_the_logs_is_neither_sent_to_nor_read(service: Service) -> None:
    fork = service.fork(forks())
    wanted = service.shown(fork)
    with running("--chain-id", "10") as other:
        elsewhere = replace(service, node=other)
        done = elsewhere.send(fork, OWNER, signed(wanted, OWNER), wanted["message"]["deadline"])
        refused(elsewhere, "expected chain 31337", done, elsewhere.sent())
        refused(elsewhere, "expected chain 31337", elsewhere.owner(fork), elsewhere.sent())


@pytest.mark.parametrize("words", [("--owner", "0x12"), ("--owner", ""), ("--owner", OWNER.address, "--registry", "x")])
def test_an_address_has_40_digits(service: Service, words: tuple[str, ...]) -> None:
    refused(service, "expected 40 hex digits", service.anchor("register", "a", *words), service.sent(), code=2)
