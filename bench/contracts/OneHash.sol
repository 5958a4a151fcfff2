// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title For bench/anchor.py alone: every record's hash on chain, in order
contract OneHash {
    mapping(address owner => bytes32[]) public records;

    event Recorded(address indexed owner, uint256 indexed index, bytes32 hash);

    /// @notice Append a record's hash to the sender's list.
    function append(bytes32 hash) external {
        bytes32[] storage list = records[msg.sender];
        emit Recorded(msg.sender, list.length, hash);
        list.push(hash);
    }
}
