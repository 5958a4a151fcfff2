"""What an anchor costs: gas of every function, beside what else one could do: `python bench/anchor.py`.

Gas is exact: what a transaction's receipt says on a local anvil with the rules of Prague. Ours is measured anew by
contracts/gas.py: at 2^10, 2^20 and 2^30 leaves and up to twice as many, from old sizes of every shape, in steps of 1,
60 and 3,600 entries. Peers, on the same node in the same run:

* anchoring that looks at the size alone (bench/contracts/SizeOnly.sol), for the same growths;
* an attestation of the Ethereum Attestation Service of the same three values, with no recipient and no resolver: the
  contracts as EAS compiled them, from its npm package; where that cannot be had it is not measured;
* a hash a record, kept in a list (bench/contracts/OneHash.sol).

Costs are what the chain itself charges. An L2 adds a fee for publishing the transaction's bytes on L1, which changes by
the hour and is not included.

Goal: the median of an enforced anchor at 2^20 is at most 60,000 gas.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median_low
from typing import Any

from contracts.compile import compile_all
from contracts.gas import SIZES, STEPS, measure, starts, used
from contracts.tests.chain import Chain
from contracts.tests.trees import read_huge
from ledger.merkle import tree_root
from tests.anvil import running

HERE = Path(__file__).resolve().parent
GOAL, GOAL_AT = 60_000, "2^20"
PRICES = ((0.01, "an L2"), (1.0, "Ethereum, quiet"), (20.0, "Ethereum, busy"))  # gwei
A_DAY = {"a minute": 24 * 60, "an hour": 24}  # anchors
MILLION = 1_000_000
EAS = "@ethereum-attestation-service/eas-contracts@1.9.0"
EAS_SHA256 = "9b168dcbeea489418df67ed665b830c7919ae6c8d8c44bbd3694fdcf8bbd6f25"
EAS_SCHEMA = "bytes32 logId, uint64 size, bytes32 root"
NOBODY = "0x" + "00" * 20


def size_only(chain: Chain, contract: Any, size: int) -> int:
    """Median gas of the peer's anchors for the growths that ours are measured at."""
    gas = []
    for old in starts(size):
        for step in STEPS:
            name = hashlib.sha256(f"{old} {step}".encode()).digest()
            log_id = contract.functions.createLog(name).call({"from": chain.people[0]})
            used(chain, contract.functions.createLog(name))
            used(chain, contract.functions.anchor(log_id, old, tree_root(old, read_huge)))
            gas.append(used(chain, contract.functions.anchor(log_id, old + step, tree_root(old + step, read_huge))))
    return median_low(gas)


def one_hash(chain: Chain, contract: Any) -> int:
    """Gas of a record's hash that is not the sender's first."""
    return [used(chain, contract.functions.append(hashlib.sha256(bytes([at])).digest())) for at in range(3)][-1]


def attestation(chain: Chain) -> int | None:
    """Gas of an EAS attestation that is not the first, or None where the contracts cannot be had."""
    compiled = eas()
    if compiled is None:
        return None
    registry, service = compiled
    schemas = constructed(chain, registry)
    attestations = constructed(chain, service, schemas.address)
    receipt = chain.send(schemas.functions.register(EAS_SCHEMA, NOBODY, False))
    schema = schemas.events.Registered().process_receipt(receipt)[0]["args"]["uid"]
    log, gas = hashlib.sha256(b"log").digest(), 0
    for at in range(3):
        values = log + (2**20 + at).to_bytes(32, "big") + hashlib.sha256(bytes([at])).digest()
        gas = used(chain, attestations.functions.attest((schema, (NOBODY, 0, False, bytes(32), values, 0))))
    return gas


def eas() -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The two contracts of the package of this very hash, from the npm registry. Nothing of it is kept."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", EAS, "--silent", "--pack-destination", place]
        try:
            subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        (package,) = Path(place).glob("*.tgz")
        if hashlib.sha256(package.read_bytes()).hexdigest() != EAS_SHA256:
            return None
        with tarfile.open(package) as files:
            return artifact(files, "SchemaRegistry"), artifact(files, "EAS")


def artifact(files: tarfile.TarFile, name: str) -> dict[str, Any]:
    found = files.extractfile(f"package/artifacts/contracts/{name}.sol/{name}.json")
    assert found is not None
    return dict(json.load(found))


def constructed(chain: Chain, compiled: dict[str, Any], *arguments: Any) -> Any:
    made = chain.w3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"]).constructor(*arguments)
    receipt = chain.w3.eth.wait_for_transaction_receipt(made.transact({"from": chain.people[0]}))
    return chain.w3.eth.contract(address=receipt["contractAddress"], abi=compiled["abi"])


def break_even(quorums: dict[str, Any]) -> tuple[int, float, float]:
    """The fewest signers for whom BLS costs less, and what one more costs each side: straight lines, both are."""
    few, many = 1, 32
    ecdsa, bls = ([quorums[verb][f"{n} of {n}"] for n in (few, many)] for verb in ("cosignEcdsa", "cosignBls"))
    more, more_bls = ((side[1] - side[0]) / (many - few) for side in (ecdsa, bls))
    return few + int((bls[0] - ecdsa[0]) / (more - more_bls)) + 1, more, more_bls


def rows(gas: dict[str, Any]) -> list[str]:
    """A line for each function; what depends on the size of the tree has a figure for each."""
    lines = []
    for contract, verbs in gas.items():
        for verb, spent in verbs.items():
            if not isinstance(spent, dict):
                lines.append(f"| {contract} | {verb} | {spent:,} | | |")
            elif set(spent) == set(SIZES):
                spreads = (f"{each['median']:,} ({each['least']:,} to {each['most']:,})" for each in spent.values())
                lines.append(f"| {contract} | {verb} | {' | '.join(spreads)} |")
            else:
                lines += [f"| {contract} | {verb}, {of} | {each:,} | | |" for of, each in spent.items()]
    return lines


def dollars(gas: float, gwei: float, eth: float) -> str:
    price = gas * gwei * 1e-9 * eth
    return f"${price:,.0f}" if price >= 100 else f"${price:,.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records-a-day", type=int, default=MILLION, help="how long a million take to come")
    parser.add_argument("--eth", type=float, default=3000.0, help="dollars for one ETH")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    compiled = compile_all(*sorted((HERE / "contracts").glob("*.sol")))
    with running() as node:
        chain = Chain(node)
        gas = measure(chain)
        peer = chain.deploy(compiled["SizeOnly"])
        sizes = {name: size_only(chain, peer, size) for name, size in SIZES.items()}
        record = one_hash(chain, chain.deploy(compiled["OneHash"]))
        attested = attestation(chain)
    anchors = {name: each["median"] for name, each in gas["LedgerAnchor"]["anchor"].items()}
    ours = anchors[GOAL_AT]
    least, more, more_bls = break_even(gas["WitnessQuorum"])
    met = ours <= GOAL
    if given.json:
        figures = {
            "gas": gas, "size only": sizes, "EAS attestation": attested, "one hash": record,
            "BLS costs less from signers": least, "goal": GOAL, "met": met,
        }  # fmt: skip
        sys.stdout.write(json.dumps(figures) + "\n")
        return 0 if met else 1

    print(f"made by: {' '.join(['python', *sys.argv])}\n")
    print("| an anchor | " + " | ".join(f"{name} leaves" for name in SIZES) + " | goal |")
    print("| --- | --- | --- | --- | --- |")
    print("| enforced | " + " | ".join(f"{each:,}" for each in anchors.values()) + f" | {GOAL:,} at {GOAL_AT}"
          + ("" if met else " **missed**") + " |")  # fmt: skip
    print("| size only | " + " | ".join(f"{each:,}" for each in sizes.values()) + " | |")
    print("| ratio | " + " | ".join(f"{anchors[name] / each:.2f}" for name, each in sizes.items()) + " | |")
    told = "not measured here (229,684 where it was)" if attested is None else f"{attested:,}"
    print(f"| EAS attestation | {told} | | | |")
    print(f"| one hash, for each record | {record:,} | | | |\n")

    print("| contract | function | gas, or median (least to most) at 2^10 | at 2^20 | at 2^30 |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(rows(gas)))
    print(f"\nCosigned by BLS costs less than by ECDSA from {least} signers on: one more costs {more_bls:,.0f} and "
          f"{more:,.0f} gas.\n")  # fmt: skip

    print(f"A million records, of which {given.records_a_day:,} come in a day; anchors at {GOAL_AT}; "
          f"ETH at ${given.eth:,.0f}; an L2's fee for data on L1 is not included\n")  # fmt: skip
    ways = [
        (f"{name}, one {every}", each * count * MILLION / given.records_a_day)
        for name, each in (("enforced", ours), ("size only", sizes[GOAL_AT]), ("EAS", attested))
        if each is not None
        for every, count in A_DAY.items()
    ]
    ways.append(("one hash a record", record * MILLION))
    print("| anchors | " + " | ".join(f"{gwei:g} gwei ({where})" for gwei, where in PRICES) + " |")
    print("| --- |" + " --- |" * len(PRICES))
    for name, each in ways:
        print(f"| {name} | " + " | ".join(dollars(each, gwei, given.eth) for gwei, _ in PRICES) + " |")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
