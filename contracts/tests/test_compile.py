"""What the package ships is what the sources say, byte for byte, and stands at the same address everywhere."""

import re
from typing import Any

import pytest
from eth_utils import keccak

from contracts.compile import HERE, SHIPPED, as_text, compile_all, create2_address

pytestmark = pytest.mark.slow
CONTRACTS = sorted(path.stem for path in SHIPPED.glob("*.json"))


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, Any]]:
    return compile_all()


def test_every_contract_of_the_sources_is_shipped_and_no_other(compiled: dict[str, dict[str, Any]]) -> None:
    assert sorted(compiled) == CONTRACTS
    assert "LedgerAnchor" in CONTRACTS


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_shipped_file_is_what_the_compiler_makes_of_the_source(
    name: str, compiled: dict[str, dict[str, Any]]
) -> None:
    assert (SHIPPED / f"{name}.json").read_text() == as_text(compiled[name])


@pytest.mark.parametrize("name", CONTRACTS)
def test_nothing_of_a_machine_or_a_chain_stands_in_the_code(name: str, compiled: dict[str, dict[str, Any]]) -> None:
    shipped = compiled[name]
    creation, runtime = bytes.fromhex(shipped["bytecode"][2:]), bytes.fromhex(shipped["runtime"][2:])
    assert creation.endswith(runtime)  # no constructor arguments and no metadata after it
    assert shipped["codeHash"] == "0x" + keccak(runtime).hex()
    assert shipped["address"] == create2_address(creation)
    assert len(runtime) <= 24_576  # EIP-170
    code = re.sub("//.*", "", (HERE / "src" / f"{name}.sol").read_text())
    for word in ("immutable", "constructor", "delegatecall", "selfdestruct", "payable", "tx.origin"):
        assert word not in code, word


@pytest.mark.parametrize("name", CONTRACTS)
def test_no_function_takes_money(name: str, compiled: dict[str, dict[str, Any]]) -> None:
    kinds = {each.get("stateMutability") for each in compiled[name]["abi"] if each["type"] != "event"}
    assert kinds <= {"view", "pure", "nonpayable", None}
    assert not {each["type"] for each in compiled[name]["abi"]} & {"constructor", "fallback", "receive"}
