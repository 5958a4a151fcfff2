// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title EIP-712 digests, and who signed one
/// @notice The domain (name, version "1", chain id, contract) is made at run time: no contract here has an immutable, so
/// that each has one code hash on every chain, and a signature counts on one chain and in one contract only.
library Signed {
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant VERSION = keccak256("1");
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    bytes4 private constant ERC1271 = 0x1626ba7e; // isValidSignature(bytes32,bytes), and what it returns for yes

    /// @notice The signature is not one: not 65 bytes r || s || v, v not 27 or 28, s in the upper half, or nobody's.
    error BadSignature();

    /// @notice What is signed: EIP-712's digest of a struct under the domain of the contract that runs.
    /// @param name keccak256 of the domain's name, which is the contract's
    /// @param structHash EIP-712's hashStruct of what is signed
    function digest(bytes32 name, bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN, name, VERSION, block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// @notice Whose key made this signature; reverts with BadSignature where it is none.
    function signer(bytes32 digest_, bytes calldata signature) internal pure returns (address who) {
        who = _recover(digest_, signature);
        if (who == address(0)) revert BadSignature();
    }

    /// @notice Whether `who` signed: with its own key, or, where it is a contract, as it says itself (ERC-1271).
    /// @dev The key first: under EIP-7702 an address with code may have one too. The contract is asked by staticcall and
    /// can change nothing; it can use up the gas that its transaction brought.
    function by(address who, bytes32 digest_, bytes calldata signature) internal view returns (bool) {
        if (who == address(0)) return false;
        if (_recover(digest_, signature) == who) return true;
        if (who.code.length == 0) return false;
        (bool done, bytes memory said) = who.staticcall(abi.encodeWithSelector(ERC1271, digest_, signature));
        return done && said.length == 32 && bytes32(said) == bytes32(ERC1271);
    }

    /// @dev Zero where the signature is none. One signature has one spelling: 65 bytes, low s.
    function _recover(bytes32 digest_, bytes calldata signature) private pure returns (address) {
        if (signature.length != 65) return address(0);
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        uint8 v = uint8(signature[64]);
        if (uint256(s) > HALF_ORDER || (v != 27 && v != 28)) return address(0);
        return ecrecover(digest_, v, r, s);
    }
}
