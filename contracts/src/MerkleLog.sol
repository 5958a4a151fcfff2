// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Proofs of RFC 6962 trees, checked as in RFC 9162, sections 2.1.3.2 and 2.1.4.2
/// @notice SHA-256, with 0x00 before a leaf and 0x01 before a node: the trees of ledger/merkle.py, step by step.
/// Sizes and roots belong together: a proof alone does not tell the size of its tree.
library MerkleLog {
    /// @notice The root of the tree without leaves: SHA-256 of nothing.
    bytes32 internal constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    /// @notice The chain's SHA-256 precompile did not answer: it is missing here, or the gas ran out in it.
    error NoSha256();

    /// @notice The hash of a leaf that holds these bytes: SHA-256(0x00 || entry).
    function leafHash(bytes calldata entry) internal view returns (bytes32 hash) {
        bool done;
        assembly ("memory-safe") {
            let at := mload(0x40) // past the free memory pointer, which stays: nothing of this is kept
            mstore8(at, 0)
            calldatacopy(add(at, 1), entry.offset, entry.length)
            done := staticcall(gas(), 2, at, add(entry.length, 1), 0, 32)
            done := and(done, eq(returndatasize(), 32))
            hash := mload(0)
        }
        if (!done) revert NoSha256();
    }

    /// @notice Whether leaf number `index`, with this leaf hash, stands in the tree of `size` leaves with this root.
    function verifyInclusion(bytes32 leaf, uint64 index, uint64 size, bytes32 root, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        // 1. The leaf lies in the tree.
        if (index >= size) return false;
        // 2. Walk the path up from the leaf. RFC 9162, 2.1.3.2, calls `node` fn and `last` sn.
        uint256 node = index;
        uint256 last = size - 1;
        uint256 next; // where in the calldata the next hash of the path stands
        bool hashed = node | last != 0;
        bool failed;
        bytes32 reached;
        assembly ("memory-safe") {
            let pair := mload(0x40) // 0x01 || left || right, past the free memory pointer, which stays
            mstore8(pair, 1)
            next := proof.offset
            // Until it is the last node of its level, a node has a sibling: on the left where its number is odd.
            for {} xor(node, last) {} {
                let left := shl(5, and(node, 1)) // the sibling's place is 33 for a right one, and 1 for a left one
                mstore(add(pair, sub(33, left)), calldataload(next))
                mstore(add(pair, add(1, left)), leaf)
                failed := or(failed, iszero(staticcall(gas(), 2, pair, 65, 0, 32)))
                leaf := mload(0)
                next := add(next, 32)
                node := shr(1, node)
                last := shr(1, last)
            }
            // From there on it stays the last: it has a sibling, on the left, where its number is odd, or else rises.
            mstore(add(pair, 33), leaf)
            for {} node { node := shr(1, node) } {
                if and(node, 1) {
                    mstore(add(pair, 1), calldataload(next))
                    failed := or(failed, iszero(staticcall(gas(), 2, pair, 65, add(pair, 33), 32)))
                    next := add(next, 32)
                }
            }
            reached := mload(add(pair, 33))
            failed := or(failed, and(hashed, xor(returndatasize(), 32)))
        }
        // Unseen, a call that failed would leave an older hash to be taken for its own.
        if (failed) revert NoSha256();
        // 3. The path was as long as this leaf's path, and leads to the root. (Beyond the calldata stand zeros.)
        return next == _end(proof) && reached == root;
    }

    /// @notice Whether the tree of `newSize` leaves with `newRoot` only added to that of `oldSize` with `oldRoot`.
    /// Every tree has grown from the empty tree, so there the new root is not looked at.
    function verifyConsistency(
        uint64 oldSize,
        bytes32 oldRoot,
        uint64 newSize,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) internal view returns (bool) {
        // 1. The tree did not shrink.
        if (oldSize > newSize) return false;
        // 2. An empty tree has one root only. From it, and to the same size, there is nothing to prove.
        if (oldSize == 0) return proof.length == 0 && oldRoot == EMPTY_ROOT && (newSize != 0 || newRoot == EMPTY_ROOT);
        if (oldSize == newSize) return proof.length == 0 && oldRoot == newRoot;
        // 3. Walk the path up from where the old tree ended, to both roots: from the old root itself where the old tree
        //    is complete, else from the first hash. RFC 9162, 2.1.4.2, calls `node` fn and `last` sn.
        uint256 node = oldSize - 1;
        uint256 last = newSize - 1;
        bool complete = oldSize & node == 0;
        uint256 next; // where in the calldata the next hash of the path stands
        bool failed;
        bytes32 reachedOld;
        bytes32 reachedNew;
        assembly ("memory-safe") {
            for {} and(node, 1) {} {
                node := shr(1, node)
                last := shr(1, last)
            }
            next := proof.offset
            let reached := oldRoot
            if iszero(complete) {
                reached := calldataload(next)
                next := add(next, 32)
            }
            // Both hold 0x01 || left || right, past the free memory pointer, which stays. What the old tree has reached
            // never has a sibling on the right, so its hash is written back to where it is hashed next.
            let pair := mload(0x40)
            let old := add(pair, 96)
            mstore8(pair, 1)
            mstore8(old, 1)
            mstore(add(old, 33), reached)
            // Until it is the last node of its level, a node has a sibling: on the left where its number is odd.
            for {} xor(node, last) {} {
                let sibling := calldataload(next)
                let left := shl(5, and(node, 1)) // the sibling's place is 33 for a right one, and 1 for a left one
                mstore(add(pair, sub(33, left)), sibling)
                mstore(add(pair, add(1, left)), reached)
                failed := or(failed, iszero(staticcall(gas(), 2, pair, 65, 0, 32)))
                reached := mload(0)
                if left {
                    mstore(add(old, 1), sibling)
                    failed := or(failed, iszero(staticcall(gas(), 2, old, 65, add(old, 33), 32)))
                }
                next := add(next, 32)
                node := shr(1, node)
                last := shr(1, last)
            }
            // From there on it stays the last: it has a sibling, on the left, where its number is odd, or else rises.
            mstore(add(pair, 33), reached)
            for {} node { node := shr(1, node) } {
                if and(node, 1) {
                    mstore(add(pair, 1), calldataload(next))
                    mstore(add(old, 1), calldataload(next))
                    failed := or(failed, iszero(staticcall(gas(), 2, pair, 65, add(pair, 33), 32)))
                    failed := or(failed, iszero(staticcall(gas(), 2, old, 65, add(old, 33), 32)))
                    next := add(next, 32)
                }
            }
            reachedNew := mload(add(pair, 33))
            reachedOld := mload(add(old, 33))
            failed := or(failed, xor(returndatasize(), 32)) // the old size is below the new: something was hashed
        }
        // Unseen, a call that failed would leave an older hash to be taken for its own.
        if (failed) revert NoSha256();
        // 4. The path was as long as this growth's path, and leads to both roots. (Beyond the calldata stand zeros.)
        return next == _end(proof) && reachedOld == oldRoot && reachedNew == newRoot;
    }

    /// @dev Where in the calldata a proof ends.
    function _end(bytes32[] calldata proof) private pure returns (uint256 end) {
        assembly ("memory-safe") {
            end := add(proof.offset, shl(5, proof.length))
        }
    }
}
