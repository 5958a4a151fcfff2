// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleLog} from "../src/MerkleLog.sol";

/// @title For tests alone: many proofs in one call, a verdict for each
contract MerkleHarness {
    struct Growth {
        uint64 oldSize;
        bytes32 oldRoot;
        uint64 newSize;
        bytes32 newRoot;
        bytes32[] proof;
    }

    struct Place {
        bytes32 leaf;
        uint64 index;
        uint64 size;
        bytes32 root;
        bytes32[] proof;
    }

    function growths(Growth[] calldata given) external view returns (bytes memory verdicts) {
        verdicts = new bytes(given.length);
        for (uint256 i = 0; i < given.length; ++i) {
            Growth calldata g = given[i];
            if (MerkleLog.verifyConsistency(g.oldSize, g.oldRoot, g.newSize, g.newRoot, g.proof)) verdicts[i] = 0x01;
        }
    }

    function places(Place[] calldata given) external view returns (bytes memory verdicts) {
        verdicts = new bytes(given.length);
        for (uint256 i = 0; i < given.length; ++i) {
            Place calldata p = given[i];
            if (MerkleLog.verifyInclusion(p.leaf, p.index, p.size, p.root, p.proof)) verdicts[i] = 0x01;
        }
    }

    function leafHash(bytes calldata entry) external view returns (bytes32) {
        return MerkleLog.leafHash(entry);
    }
}
