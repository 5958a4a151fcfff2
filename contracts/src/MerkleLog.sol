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
        // 2. The path is as long as this leaf's path; walk it up from the leaf.
        uint256 node = index; // RFC 9162, 2.1.3.2: fn and sn
        uint256 last = size - 1;
        bytes32 reached = leaf;
        for (uint256 i = 0; i < proof.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                reached = _node(proof[i], reached);
                while (node & 1 == 0 && node != 0) {
                    // a last node without a sibling rises to where it has one
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                reached = _node(reached, proof[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        // 3. It leads to the root.
        return last == 0 && reached == root;
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
        // 3. The path is as long as this growth's path; walk it up from where the old tree ended, to both roots.
        uint256 node = oldSize - 1; // RFC 9162, 2.1.4.2: fn and sn
        uint256 last = newSize - 1;
        while (node & 1 == 1) {
            node >>= 1;
            last >>= 1;
        }
        uint256 i = 0;
        bytes32 reachedOld = oldRoot;
        if (oldSize & (oldSize - 1) != 0) {
            if (proof.length == 0) return false;
            reachedOld = proof[i++];
        }
        bytes32 reachedNew = reachedOld;
        for (; i < proof.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                reachedOld = _node(proof[i], reachedOld);
                reachedNew = _node(proof[i], reachedNew);
                while (node & 1 == 0 && node != 0) {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                reachedNew = _node(reachedNew, proof[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        // 4. It leads to both roots.
        return last == 0 && reachedOld == oldRoot && reachedNew == newRoot;
    }

    /// @dev The hash of the node above two nodes: SHA-256(0x01 || left || right).
    function _node(bytes32 left, bytes32 right) private view returns (bytes32 hash) {
        bool done;
        assembly ("memory-safe") {
            let at := mload(0x40) // past the free memory pointer, which stays: nothing of this is kept
            mstore8(at, 1)
            mstore(add(at, 1), left)
            mstore(add(at, 33), right)
            done := staticcall(gas(), 2, at, 65, 0, 32)
            done := and(done, eq(returndatasize(), 32))
            hash := mload(0)
        }
        // Unseen, a call that failed would leave an older hash to be taken for this one.
        if (!done) revert NoSha256();
    }
}
