"""A chain to try contracts on: deploy, ask, send, and read a refusal by its error's name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eth_abi import decode
from eth_account.messages import encode_typed_data
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError, Web3RPCError
from web3.logs import DISCARD

from contracts.compile import FACTORY, SHIPPED
from tests.anvil import Anvil

SALT = bytes(32)


class Chain:
    """One node. `people` are its funded addresses."""

    def __init__(self, node: Anvil) -> None:
        self.node = node
        self.w3 = Web3(HTTPProvider(node.url, exception_retry_configuration=None))
        self.people: list[str] = self.w3.eth.accounts
        self.id: int = self.w3.eth.chain_id

    def deploy(self, shipped: dict[str, Any]) -> Any:
        """Through the factory, at the address that the shipped file says. Twice is once."""
        if not self.w3.eth.get_code(shipped["address"]):
            factory = Web3.to_checksum_address("0x" + FACTORY)
            creation = bytes.fromhex(shipped["bytecode"][2:])
            sent = self.w3.eth.send_transaction({"from": self.people[0], "to": factory, "data": SALT + creation})
            self.w3.eth.wait_for_transaction_receipt(sent)
            assert self.w3.eth.get_code(shipped["address"]).hex() == shipped["runtime"][2:]
        return self.w3.eth.contract(address=shipped["address"], abi=shipped["abi"])

    def admit(self, who: str) -> str:
        """Let an address of ours send: money, and the node signs for it."""
        self.node.call("anvil_setBalance", who, hex(10**20))
        self.node.call("anvil_impersonateAccount", who)
        return who

    def now(self) -> int:
        return int(self.w3.eth.get_block("latest")["timestamp"])

    def send(self, verb: Any, by: str | None = None) -> Any:
        """The receipt of a transaction that went through."""
        sent = verb.transact({"from": by or self.people[0]})
        receipt = self.w3.eth.wait_for_transaction_receipt(sent, poll_latency=0.002)
        assert receipt["status"] == 1
        return receipt

    def refusal(self, verb: Any, by: str | None = None) -> tuple[Any, ...]:
        """The custom error, name and figures, with which the contract refuses this transaction."""
        try:
            verb.call({"from": by or self.people[0]})
        except ContractCustomError as error:
            return read_error(verb.contract_abi, bytes.fromhex(str(error.data)[2:]))
        except Web3RPCError as error:
            raise AssertionError(f"refused, and not by a custom error: {error}") from None
        raise AssertionError("the contract did not refuse it")


def event(contract: Any, receipt: Any, name: str) -> dict[str, Any]:
    """The one event of this name in a receipt."""
    (found,) = contract.events[name]().process_receipt(receipt, errors=DISCARD)
    return dict(found["args"])


def read_error(abi: Sequence[dict[str, Any]], told: bytes) -> tuple[Any, ...]:
    for each in abi:
        if each["type"] == "error":
            types = [given["type"] for given in each["inputs"]]
            if Web3.keccak(text=f"{each['name']}({','.join(types)})")[:4] == told[:4]:
                return (each["name"], *decode(types, told[4:]))
    raise AssertionError(f"no error of the ABI: {told.hex()}")


def shipped(name: str) -> dict[str, Any]:
    """What the package holds of a contract."""
    read: dict[str, Any] = json.loads((SHIPPED / f"{name}.json").read_text())
    return read


def typed(chain: Chain, contract: Any, name: str, struct: str, message: dict[str, Any], /, **domain: Any) -> Any:
    """What is signed of `struct`, written as in EIP-712: "Checkpoint(bytes32 logId,uint64 size,bytes32 root)"."""
    primary, _, fields = struct.rstrip(")").partition("(")
    return encode_typed_data(
        {"name": name, "version": "1", "chainId": chain.id, "verifyingContract": contract.address, **domain},
        {primary: [{"name": n, "type": t} for t, n in (field.split(" ") for field in fields.split(","))]},
        message,
    )
