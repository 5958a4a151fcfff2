// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title BLS signatures over BLS12-381, by the precompiles of EIP-2537
/// @notice Keys in G1, signatures in G2 (draft-irtf-cfrg-bls-signature-05, "minimal-pubkey-size"), messages hashed to G2 by
/// RFC 9380's BLS12381G2_XMD:SHA-256_SSWU_RO_. What signers do, py_ecc.bls.G2ProofOfPossession does.
/// @dev Points are as EIP-2537 has them: coordinates of 64 bytes, big-endian below p; a G1 point 128 bytes, a G2 point 256;
/// infinity all zero. Only the pairing looks whether a point is in the subgroup: every key and signature goes through it.
/// A precompile that refuses its input takes all gas it was given, so whoever sends a bad point pays for it.
library Bls12381 {
    address private constant MODEXP = address(0x05); // EIP-198
    address private constant G1_ADD = address(0x0b);
    address private constant G2_ADD = address(0x0d);
    address private constant PAIRING = address(0x0f);
    address private constant MAP_FP2_TO_G2 = address(0x11); // clears the cofactor too

    uint256 internal constant G1_BYTES = 128;
    uint256 internal constant G2_BYTES = 256;

    /// @dev The field's p, and (p - 1) / 2 in two parts.
    bytes private constant P =
        hex"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    uint256 private constant HALF_HIGH = 0x0d0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_LOW = 0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;

    /// @dev The generator of G1, negated.
    bytes private constant MINUS_G1 =
        hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f267816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca";

    /// @notice A key or a signature is not as long as its point.
    error BadLength(uint256 expected, uint256 came);
    /// @notice A key or a signature is the point at infinity, which would hold for every message.
    error Infinity();
    /// @notice A key or a signature is no point: a coordinate not below p, not on the curve, or not in the subgroup.
    /// Or the gas ran out in the precompile.
    error BadPoint();
    /// @notice This chain has no such precompile.
    error NoPrecompile(address precompile);

    /// @notice Whether this key signed this message: CoreVerify of the draft, section 2.7.
    /// @param publicKey a point of G1
    /// @param tag the domain separation tag, at most 255 bytes
    /// @param signature a point of G2
    function verify(bytes memory publicKey, bytes memory message, bytes memory tag, bytes memory signature)
        internal
        view
        returns (bool)
    {
        // 1. They have the length of points, and are not infinity: both at once would hold for every message.
        if (publicKey.length != G1_BYTES) revert BadLength(G1_BYTES, publicKey.length);
        if (signature.length != G2_BYTES) revert BadLength(G2_BYTES, signature.length);
        if (_isZero(publicKey) || _isZero(signature)) revert Infinity();
        // 2. e(key, H(message)) = e(G1, signature), written as a product that is one. The pairing refuses what is not in
        // the subgroup.
        bytes memory product =
            _precompile(PAIRING, bytes.concat(publicKey, hashToG2(message, tag), MINUS_G1, signature), 32);
        return bytes32(product) == bytes32(uint256(1));
    }

    /// @notice The sum of those of the keys whose bit is set in `which`: the key of their aggregated signature.
    /// @param keys points of G1 in a row, each in the subgroup
    function sum(bytes memory keys, uint256 which) internal view returns (bytes memory total) {
        total = new bytes(2 * G1_BYTES); // the sum so far, which begins at infinity, and the key to add
        bool done = true;
        for (uint256 i = 0; which != 0; (++i, which >>= 1)) {
            if (which & 1 == 0) continue;
            assembly ("memory-safe") {
                mcopy(add(total, 160), add(add(keys, 32), shl(7, i)), 128)
                done := and(done, staticcall(gas(), 0x0b, add(total, 32), 256, add(total, 32), 128))
                done := and(done, eq(returndatasize(), 128))
            }
        }
        if (!done) revert NoPrecompile(G1_ADD); // the keys were looked at when they came
        assembly ("memory-safe") {
            mstore(total, 128)
        }
    }

    /// @notice A key as signers write it: 48 bytes, x and the sign of y (draft-irtf-cfrg-pairing-friendly-curves, C.1).
    /// @dev Of 128 bytes that are no point it makes 48 bytes that mean nothing.
    function compress(bytes calldata publicKey) internal pure returns (bytes memory compressed) {
        if (publicKey.length != G1_BYTES) revert BadLength(G1_BYTES, publicKey.length);
        uint256 high = uint256(bytes32(publicKey[64:96]));
        uint256 low = uint256(bytes32(publicKey[96:128]));
        bool larger = high > HALF_HIGH || (high == HALF_HIGH && low > HALF_LOW); // y > -y
        compressed = publicKey[16:64];
        compressed[0] |= larger ? bytes1(0xa0) : bytes1(0x80);
    }

    /// @notice The point of G2 that a message stands for: hash_to_curve of RFC 9380, section 3, suite 8.8.2.
    /// @param tag the domain separation tag, at most 255 bytes
    function hashToG2(bytes memory message, bytes memory tag) internal view returns (bytes memory) {
        // 1. expand_message_xmd (5.3.1) to 256 bytes.
        bytes memory end = abi.encodePacked(tag, uint8(tag.length));
        bytes32 first = sha256(abi.encodePacked(new bytes(64), message, uint16(256), uint8(0), end));
        bytes32[8] memory expanded;
        for (uint256 i = 0; i < 8; ++i) {
            bytes32 before = i == 0 ? bytes32(0) : expanded[i - 1];
            expanded[i] = sha256(abi.encodePacked(first ^ before, uint8(i + 1), end));
        }
        // 2. Two elements of Fp2, each of two numbers of 64 bytes modulo p (5.2), each mapped to G2. The sum of the two
        // points is the hash: the map has cleared the cofactor of each.
        return _precompile(
            G2_ADD,
            bytes.concat(
                _map(_reduce(expanded[0], expanded[1]), _reduce(expanded[2], expanded[3])),
                _map(_reduce(expanded[4], expanded[5]), _reduce(expanded[6], expanded[7]))
            ),
            G2_BYTES
        );
    }

    /// @dev A number of 64 bytes modulo p, in 48.
    function _reduce(bytes32 high, bytes32 low) private view returns (bytes memory) {
        bytes memory input = abi.encodePacked(uint256(64), uint256(1), uint256(48), high, low, uint8(1), P);
        return _precompile(MODEXP, input, 48);
    }

    /// @dev The element c0 + c1 u of Fp2, mapped to G2.
    function _map(bytes memory c0, bytes memory c1) private view returns (bytes memory) {
        return _precompile(MAP_FP2_TO_G2, bytes.concat(bytes16(0), c0, bytes16(0), c1), G2_BYTES);
    }

    /// @dev Whether a point is all zero. Its length is a multiple of 32.
    function _isZero(bytes memory point) private pure returns (bool) {
        bytes32 seen;
        for (uint256 offset = 32; offset <= point.length; offset += 32) {
            assembly ("memory-safe") {
                seen := or(seen, mload(add(point, offset)))
            }
        }
        return seen == 0;
    }

    /// @dev What a precompile answers: `size` bytes. Where there is none, the call does well and answers nothing.
    function _precompile(address precompile, bytes memory input, uint256 size)
        private
        view
        returns (bytes memory output)
    {
        output = new bytes(size);
        bool done;
        bool answered;
        assembly ("memory-safe") {
            done := staticcall(gas(), precompile, add(input, 32), mload(input), add(output, 32), size)
            answered := eq(returndatasize(), size)
        }
        if (!done) revert BadPoint();
        if (!answered) revert NoPrecompile(precompile);
    }
}
