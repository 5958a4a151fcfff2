// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LedgerAnchor} from "./LedgerAnchor.sol";
import {Signed} from "./Signed.sol";

/// @title On-chain owners of forks
/// @notice Binds an address to a fork of an anchored log. Opt-in, and PUBLIC FOR GOOD: whoever knows the fork id can look
/// up the address, no entry is ever removed, and erasing records in the ledger erases nothing here.
/// @notice What an owner here is worth: the ledger alone decides who may sign for a fork. A transfer moves what contracts
/// credit, not the fork's key: until the ledger has an `ownership-transferred` entry, `transfers > 0` reads as pending.
/// @notice What is trusted: no precompile checks Ed25519, so that the fork's ledger key signed is attested by an anchorer
/// of the log (its operator). The signature stands in the event: anybody can check it off chain, and a false attestation
/// is proven by the event alone. A fork here is only as good as its `ledgerAnchor`, an address that the sender gives:
/// whoever relies on a fork compares that address and the log id, both part of the chain fork id.
contract ForkRegistry {
    /// @notice A registered fork.
    struct Fork {
        LedgerAnchor ledgerAnchor; // where the log is anchored
        bytes32 logId;
        bytes32 forkIdHash; // SHA-256 of the ledger's fork id, 36 characters
        bytes32 ledgerKey; // the fork's Ed25519 public key when it was registered
        address owner;
        uint64 transfers; // how often the owner here changed
    }

    /// @notice What the owner and an anchorer of the log sign, each under its own EIP-712 type: Register and Attest.
    struct Registration {
        LedgerAnchor ledgerAnchor;
        bytes32 logId;
        bytes32 forkIdHash;
        address owner;
        bytes32 ledgerKey;
        bytes ledgerSignature; // 64 bytes: Ed25519 by ledgerKey over ledgerMessage(…)
        uint64 deadline; // seconds since 1970
    }

    /// @notice All forks, by chain fork id.
    mapping(bytes32 chainForkId => Fork) public forkOf;

    bytes32 private constant NAME = keccak256("ForkRegistry");
    bytes32 private constant REGISTER = keccak256(
        "Register(address ledgerAnchor,bytes32 logId,bytes32 forkIdHash,address owner,bytes32 ledgerKey,bytes ledgerSignature,uint64 deadline)"
    );
    bytes32 private constant ATTEST = keccak256(
        "Attest(address ledgerAnchor,bytes32 logId,bytes32 forkIdHash,address owner,bytes32 ledgerKey,bytes ledgerSignature,uint64 deadline)"
    );
    bytes32 private constant TRANSFER =
        keccak256("Transfer(bytes32 chainForkId,address to,uint64 transfers,uint64 deadline)");

    /// @notice A fork has an owner on this chain. `attester` stands for having checked `ledgerSignature`.
    event Registered(
        bytes32 indexed chainForkId,
        address indexed owner,
        bytes32 indexed logId,
        LedgerAnchor ledgerAnchor,
        bytes32 forkIdHash,
        bytes32 ledgerKey,
        bytes ledgerSignature,
        address attester
    );
    /// @notice A fork has another owner on this chain: pending until the ledger has its `ownership-transferred` entry.
    event Transferred(bytes32 indexed chainForkId, address indexed from, address indexed to, uint64 transfers);

    /// @notice There is no fork of this chain fork id.
    error NoFork(bytes32 chainForkId);
    /// @notice The fork has its one registration already.
    error ForkExists(bytes32 chainForkId);
    /// @notice Not the fork's owner.
    error NotOwner(bytes32 chainForkId, address who);
    /// @notice The attestation is not by a present anchorer of the log.
    error NotAnchorer(bytes32 logId, address who);
    /// @notice An Ed25519 signature has 64 bytes.
    error BadLedgerSignature(uint256 length);
    /// @notice The signature was good until `deadline`.
    error Expired(uint64 deadline);
    /// @notice A fork is transferred to somebody.
    error Missing();

    /// @notice The id of a fork on this chain: that of the log's place, the log, and the ledger's fork id.
    function chainForkIdOf(LedgerAnchor ledgerAnchor, bytes32 logId, bytes32 forkIdHash) public pure returns (bytes32) {
        return keccak256(abi.encode(ledgerAnchor, logId, forkIdHash));
    }

    /// @notice The bytes that the fork's ledger key signs, with Ed25519, to name its owner here: "forkledger/chain-owner/v1"
    /// 00 || chain id (32) || this contract (20) || ledgerAnchor (20) || logId (32) || forkIdHash (32) || owner (20).
    function ledgerMessage(LedgerAnchor ledgerAnchor, bytes32 logId, bytes32 forkIdHash, address owner)
        external
        view
        returns (bytes memory)
    {
        return abi.encodePacked(
            "forkledger/chain-owner/v1", hex"00", block.chainid, this, ledgerAnchor, logId, forkIdHash, owner
        );
    }

    /// @notice Register a fork, once. Anybody may send it; nothing in it can be changed by who does.
    /// @param ownerSignature the owner's EIP-712 consent, type Register: by key, or ERC-1271 where the owner is a contract
    /// @param attestation EIP-712, type Attest, by an address that may anchor for the log now
    function register(Registration calldata given, bytes calldata ownerSignature, bytes calldata attestation)
        external
        returns (bytes32 chainForkId)
    {
        // 1. In time, and once.
        if (block.timestamp > given.deadline) revert Expired(given.deadline);
        if (given.ledgerSignature.length != 64) revert BadLedgerSignature(given.ledgerSignature.length);
        chainForkId = chainForkIdOf(given.ledgerAnchor, given.logId, given.forkIdHash);
        Fork storage fork = forkOf[chainForkId];
        if (fork.owner != address(0)) revert ForkExists(chainForkId);
        // 2. The log's operator has checked that the fork's key names this owner: nobody takes another's fork id.
        address attester = Signed.signer(_digest(ATTEST, given), attestation);
        if (given.ledgerAnchor.anchorers(given.logId, attester) != 1) revert NotAnchorer(given.logId, attester);
        // 3. The owner wants it: nobody is made an owner in public without having agreed.
        if (!Signed.by(given.owner, _digest(REGISTER, given), ownerSignature)) revert Signed.BadSignature();
        fork.ledgerAnchor = given.ledgerAnchor;
        fork.logId = given.logId;
        fork.forkIdHash = given.forkIdHash;
        fork.owner = given.owner;
        fork.ledgerKey = given.ledgerKey;
        emit Registered(
            chainForkId,
            given.owner,
            given.logId,
            given.ledgerAnchor,
            given.forkIdHash,
            given.ledgerKey,
            given.ledgerSignature,
            attester
        );
    }

    /// @notice Make another address the owner. The sender must be the owner.
    function transfer(bytes32 chainForkId, address to) external {
        Fork storage fork = _fork(chainForkId);
        if (msg.sender != fork.owner) revert NotOwner(chainForkId, msg.sender);
        _transfer(chainForkId, fork, to);
    }

    /// @notice The same by the owner's signature; anybody may send it. A signature counts once: it names how many transfers
    /// there were.
    /// @param signature EIP-712, Transfer(bytes32 chainForkId,address to,uint64 transfers,uint64 deadline); key or ERC-1271
    function transferSigned(bytes32 chainForkId, address to, uint64 deadline, bytes calldata signature) external {
        if (block.timestamp > deadline) revert Expired(deadline);
        Fork storage fork = _fork(chainForkId);
        bytes32 signed = keccak256(abi.encode(TRANSFER, chainForkId, to, fork.transfers, deadline));
        if (!Signed.by(fork.owner, Signed.digest(NAME, signed), signature)) revert Signed.BadSignature();
        _transfer(chainForkId, fork, to);
    }

    /// @notice The fork's owner on this chain.
    function ownerOf(bytes32 chainForkId) external view returns (address) {
        return _fork(chainForkId).owner;
    }

    function _transfer(bytes32 chainForkId, Fork storage fork, address to) private {
        if (to == address(0)) revert Missing();
        address from = fork.owner;
        fork.owner = to;
        uint64 transfers = ++fork.transfers;
        emit Transferred(chainForkId, from, to, transfers);
    }

    function _fork(bytes32 chainForkId) private view returns (Fork storage fork) {
        fork = forkOf[chainForkId];
        if (fork.owner == address(0)) revert NoFork(chainForkId);
    }

    function _digest(bytes32 type_, Registration calldata given) private view returns (bytes32) {
        return Signed.digest(
            NAME,
            keccak256(
                abi.encode(
                    type_,
                    given.ledgerAnchor,
                    given.logId,
                    given.forkIdHash,
                    given.owner,
                    given.ledgerKey,
                    keccak256(given.ledgerSignature),
                    given.deadline
                )
            )
        );
    }
}
