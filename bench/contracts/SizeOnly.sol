// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title For bench/anchor.py alone: anchoring that looks at the size and not at the tree
contract SizeOnly {
    struct Log {
        bytes32 root;
        uint64 size;
        uint64 sequence;
    }

    mapping(bytes32 logId => Log) public logs;
    mapping(bytes32 logId => mapping(address who => bool)) public anchorers;

    event Anchored(bytes32 indexed logId, uint64 indexed size, bytes32 root, uint64 sequence, address anchorer);

    error LogExists(bytes32 logId);
    error NotAnchorer(bytes32 logId, address who);
    error NotGrown(uint64 have, uint64 came);

    /// @notice Create a log whose only anchorer is the sender.
    function createLog(bytes32 name) external returns (bytes32 logId) {
        logId = keccak256(abi.encode(msg.sender, name));
        if (anchorers[logId][msg.sender]) revert LogExists(logId);
        anchorers[logId][msg.sender] = true;
    }

    /// @notice Anchor whatever root is said to be the one of this size.
    function anchor(bytes32 logId, uint64 size, bytes32 root) external {
        Log storage log = logs[logId];
        if (!anchorers[logId][msg.sender]) revert NotAnchorer(logId, msg.sender);
        uint64 have = log.size;
        if (size <= have) revert NotGrown(have, size);
        log.root = root;
        log.size = size;
        uint64 sequence = ++log.sequence;
        emit Anchored(logId, size, root, sequence, msg.sender);
    }
}
