// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title For tests alone: an owner that is a contract (ERC-1271), honest or not
contract Wallet {
    enum Way {
        Honest, // yes to what its key signed
        Mute, // answers nothing
        Short, // the right four bytes and nothing after
        Long, // the right word and another
        Other, // a word that is not the answer
        Refusing, // reverts
        Writing // says yes, and wants to change something meanwhile
    }

    address public key;
    Way public way;
    uint256 public written;
    address private target;
    bytes private message;

    function become(address key_, Way way_) external {
        (key, way) = (key_, way_);
    }

    function callWhenAsked(address target_, bytes calldata message_) external {
        (target, message) = (target_, message_);
    }

    function send(address to, bytes calldata data) external returns (bytes memory said) {
        bool done;
        (done, said) = to.call(data);
        if (!done) {
            assembly {
                revert(add(said, 32), mload(said))
            }
        }
    }

    fallback() external {
        // isValidSignature(bytes32,bytes)
        if (msg.sig != 0x1626ba7e || way == Way.Mute) return;
        if (way == Way.Refusing) revert();
        (bytes32 digest, bytes memory signature) = abi.decode(msg.data[4:], (bytes32, bytes));
        (bytes32 r, bytes32 s, uint8 v) = (bytes32(0), bytes32(0), uint8(0));
        assembly {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
        if (way == Way.Writing) {
            (bool done,) = target.call(message);
            if (!done) revert();
            ++written;
        }
        bytes32 yes = way == Way.Other ? bytes32(uint256(1)) : bytes32(bytes4(0x1626ba7e));
        if (ecrecover(digest, v, r, s) != key) yes = bytes32(bytes4(0xffffffff));
        bytes memory answer = way == Way.Long ? abi.encodePacked(yes, yes) : abi.encodePacked(yes);
        uint256 length = way == Way.Short ? 4 : answer.length;
        assembly {
            return(add(answer, 32), length)
        }
    }
}
