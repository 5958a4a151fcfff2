// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "../src/Bls12381.sol";

/// @title For tests alone: what the library says of given bytes
contract BlsHarness {
    function hashToG2(bytes calldata message, bytes calldata tag) external view returns (bytes memory) {
        return Bls12381.hashToG2(message, tag);
    }

    function sum(bytes calldata keys, uint256 which) external view returns (bytes memory) {
        return Bls12381.sum(keys, which);
    }

    function compress(bytes calldata publicKey) external pure returns (bytes memory) {
        return Bls12381.compress(publicKey);
    }

    function verify(bytes calldata publicKey, bytes calldata message, bytes calldata tag, bytes calldata signature)
        external
        view
        returns (bool)
    {
        return Bls12381.verify(publicKey, message, tag, signature);
    }
}
