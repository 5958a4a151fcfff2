// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ForkRegistry} from "./ForkRegistry.sol";
import {LedgerAnchor} from "./LedgerAnchor.sol";
import {LedgerEntry} from "./LedgerEntry.sol";
import {MerkleLog} from "./MerkleLog.sol";
import {Signed} from "./Signed.sol";

/// @title Claims of training records, one each
/// @notice Says once and for good that the registered owner of a fork contributed a record of an anchored log: an event that
/// a reward system can read. No token, no money. The credit goes to the owner that the registry names at that moment,
/// whoever sends it: to copy a claim, or to send it first, gains nothing.
/// @notice What is trusted: registry and, through it, log. `registry` is an address that the sender gives. A reader of the
/// event looks for its own registry, and for the chain fork ids of logs that it knows. A record is a signed update; that it
/// taught anything is for the reader to judge.
/// @notice A claim carries the entry's bytes, and makes them public on this chain for good. The public log shows them too.
contract ContributionClaims {
    /// @dev A bit for each leaf of a log as one registry has it, 256 to a word: set when its record was claimed. A registry
    /// that lies spoils its own bits only.
    mapping(bytes32 claims => mapping(uint64 word => uint256 bits)) private _claimed;

    bytes32 private constant NAME = keccak256("ContributionClaims");
    bytes32 private constant CLAIM =
        keccak256("Claim(address registry,bytes32 chainForkId,uint64 index,bytes32 leafHash,uint64 deadline)");

    /// @notice The record at this leaf of the log is a contribution of this owner. Once a leaf.
    event Contributed(
        ForkRegistry indexed registry,
        bytes32 indexed chainForkId,
        address indexed owner,
        bytes32 logId,
        uint64 index,
        bytes32 leafHash
    );

    /// @notice Not the fork's owner.
    error NotOwner(bytes32 chainForkId, address who);
    /// @notice The signature was good until `deadline`.
    error Expired(uint64 deadline);
    /// @notice The entry is of another log: its origin is not that of the fork's log.
    error OtherOrigin();
    /// @notice The entry is of another fork.
    error OtherFork();
    /// @notice The size is not pinned: LedgerAnchor.pin comes first. The current size passes, and is not enough.
    error NotPinned(bytes32 logId, uint64 size);
    /// @notice The path does not lead from this entry, at this index, to the pinned root.
    error NotIncluded(uint64 index, uint64 size);
    /// @notice The record at this leaf was claimed before.
    error AlreadyClaimed(bytes32 logId, uint64 index);

    /// @notice Claim a record of one's fork. The sender must be the fork's owner.
    /// @param registry the ForkRegistry that knows the fork
    /// @param size a size of the log that is pinned in its LedgerAnchor
    /// @param index the entry's leaf index
    /// @param entry the entry's bytes, as the log has them
    /// @param proof RFC 6962 inclusion proof of the entry at this size
    function claim(
        ForkRegistry registry,
        bytes32 chainForkId,
        uint64 size,
        uint64 index,
        bytes calldata entry,
        bytes32[] calldata proof
    ) external {
        address owner = _claim(registry, chainForkId, size, index, entry, MerkleLog.leafHash(entry), proof);
        if (msg.sender != owner) revert NotOwner(chainForkId, msg.sender);
    }

    /// @notice The same by the owner's signature; anybody may send it, and the owner is credited.
    /// @param signature EIP-712, Claim(address registry,bytes32 chainForkId,uint64 index,bytes32 leafHash,uint64 deadline);
    /// by key, or ERC-1271 where the owner is a contract. It counts once: a leaf is claimed once.
    function claimSigned(
        ForkRegistry registry,
        bytes32 chainForkId,
        uint64 size,
        uint64 index,
        bytes calldata entry,
        bytes32[] calldata proof,
        uint64 deadline,
        bytes calldata signature
    ) external {
        if (block.timestamp > deadline) revert Expired(deadline);
        bytes32 leaf = MerkleLog.leafHash(entry);
        address owner = _claim(registry, chainForkId, size, index, entry, leaf, proof);
        bytes32 signed = keccak256(abi.encode(CLAIM, registry, chainForkId, index, leaf, deadline));
        if (!Signed.by(owner, Signed.digest(NAME, signed), signature)) revert Signed.BadSignature();
    }

    /// @notice Whether the record at this leaf was claimed, of the log as this registry has it.
    function claimed(ForkRegistry registry, LedgerAnchor ledgerAnchor, bytes32 logId, uint64 index)
        external
        view
        returns (bool)
    {
        uint256 bits = _claimed[keccak256(abi.encode(registry, ledgerAnchor, logId))][index >> 8];
        return bits >> (index & 255) & 1 == 1;
    }

    /// @dev All but whether the owner wants it, which the caller checks after. Whoever is asked is asked by staticcall.
    function _claim(
        ForkRegistry registry,
        bytes32 chainForkId,
        uint64 size,
        uint64 index,
        bytes calldata entry,
        bytes32 leaf,
        bytes32[] calldata proof
    ) private returns (address owner) {
        LedgerAnchor ledgerAnchor;
        bytes32 logId;
        bytes32 forkIdHash;
        (ledgerAnchor, logId, forkIdHash,, owner,) = registry.forkOf(chainForkId);
        if (owner == address(0)) revert ForkRegistry.NoFork(chainForkId);
        // 1. The entry is a training record of this log and this fork.
        {
            (bytes calldata origin, bytes calldata forkId) = LedgerEntry.ofRecord(entry);
            (,,,, bytes32 originHash,,,) = ledgerAnchor.logs(logId);
            if (keccak256(origin) != originHash) revert OtherOrigin();
            if (sha256(forkId) != forkIdHash) revert OtherFork();
        }
        // 2. It stands in the log, under a root that stays.
        bytes32 root = ledgerAnchor.pinned(logId, size);
        if (root == 0) revert NotPinned(logId, size);
        if (!MerkleLog.verifyInclusion(leaf, index, size, root, proof)) revert NotIncluded(index, size);
        // 3. It was not claimed before.
        mapping(uint64 => uint256) storage claims = _claimed[keccak256(abi.encode(registry, ledgerAnchor, logId))];
        uint256 bits = claims[index >> 8];
        uint256 bit = 1 << (index & 255);
        if (bits & bit != 0) revert AlreadyClaimed(logId, index);
        claims[index >> 8] = bits | bit;
        emit Contributed(registry, chainForkId, owner, logId, index, leaf);
    }
}
