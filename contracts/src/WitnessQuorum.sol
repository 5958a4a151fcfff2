// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "./Bls12381.sol";
import {Signed} from "./Signed.sol";

/// @title Witnesses' cosignatures of checkpoints, counted on chain
/// @notice A quorum is a list of witnesses and how many of them must have signed. It is named by its content: whoever
/// relies on one knows by its id who is in it, and nobody, its maker included, can change it. Anybody may make one, and
/// anybody may bring the signatures. Witnesses sign by ECDSA, one signature each, or by BLS, with one signature for all.
/// No upgrade path, no owner, no funds. It stands at one address on every chain.
/// @dev What it does not show: that the log anchored this checkpoint (see LedgerAnchor), nor that the quorum cosigned no
/// other root at this size. Both can be read beside it.
contract WitnessQuorum {
    /// @notice How a quorum's witnesses sign.
    enum Kind {
        None, // there is no such quorum
        Ecdsa,
        Bls
    }

    /// @notice A quorum: `threshold` of `members` witnesses.
    struct Quorum {
        Kind kind;
        uint8 threshold;
        uint8 members;
        address list; // its code: 0xfe, which nothing can call, then the members in order, 32 or 128 bytes each
    }

    /// @notice All quorums, by quorum id.
    mapping(bytes32 quorumId => Quorum) public quorums;

    /// @notice Whether a BLS key was registered: its holder has shown to have the secret. By keccak256 of its 128 bytes.
    mapping(bytes32 keyHash => bool) public registered;

    /// @notice Whether a quorum cosigned a checkpoint: keccak256(abi.encode(logId, size, root)). See isCosigned.
    mapping(bytes32 quorumId => mapping(bytes32 checkpoint => bool)) public cosigned;

    /// @notice So many BLS keys fit into a contract's code (EIP-170).
    uint256 public constant MOST_MEMBERS = 191;

    bytes32 private constant NAME = keccak256("WitnessQuorum");
    bytes32 private constant CHECKPOINT = keccak256("Checkpoint(bytes32 logId,uint64 size,bytes32 root)");
    bytes private constant COSIGNATURE = "forkledger/cosignature/v1\x00"; // before what BLS witnesses sign
    bytes private constant BLS_SIGNATURE = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
    bytes private constant BLS_POSSESSION = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

    /// @notice A quorum of ECDSA witnesses was made.
    event EcdsaQuorumCreated(bytes32 indexed quorumId, uint8 threshold, address[] members);
    /// @notice A quorum of BLS witnesses was made.
    event BlsQuorumCreated(bytes32 indexed quorumId, uint8 threshold, bytes32[] keyHashes);
    /// @notice A BLS key was registered.
    event BlsKeyRegistered(bytes32 indexed keyHash, bytes publicKey);
    /// @notice A quorum cosigned a checkpoint. Bit i of `signers` is its member number i.
    event Cosigned(
        bytes32 indexed quorumId, bytes32 indexed logId, uint64 indexed size, bytes32 root, uint256 signers
    );

    /// @notice A quorum has 1 to MOST_MEMBERS members, and a threshold from 1 to as many.
    error BadQuorum(uint256 threshold, uint256 members);
    /// @notice There is no quorum of this id whose witnesses sign in this way.
    error NoQuorum(bytes32 quorumId);
    /// @notice The code that holds a quorum's members could not be made.
    error NotStored();
    /// @notice Members, and signatures by their signers, come in strictly ascending order: number `index` does not.
    error NotAscending(uint256 index);
    /// @notice No member of the quorum signed this checkpoint so.
    error NotMember(bytes32 quorumId, address who);
    /// @notice The bitmap names members beyond the last.
    error NoSuchMember(uint256 signers, uint256 members);
    /// @notice Fewer signers than the threshold.
    error TooFew(uint256 threshold, uint256 came);
    /// @notice No BLS key of this hash was registered.
    error NotRegistered(bytes32 keyHash);
    /// @notice The BLS signature does not hold: not of these signers together, or not over this checkpoint.
    error NotSigned();

    /// @notice Make a quorum of `threshold` of these addresses. Making it again changes nothing.
    /// @param members strictly ascending, so that one is counted once
    /// @return quorumId keccak256(abi.encode("ecdsa", threshold, members))
    function createEcdsaQuorum(uint8 threshold, address[] calldata members) external returns (bytes32 quorumId) {
        quorumId = keccak256(abi.encode("ecdsa", threshold, members));
        if (quorums[quorumId].kind != Kind.None) return quorumId;
        address last = address(0);
        for (uint256 i = 0; i < members.length; ++i) {
            if (members[i] <= last) revert NotAscending(i);
            last = members[i];
        }
        _create(quorumId, Kind.Ecdsa, threshold, members.length, abi.encodePacked(members));
        emit EcdsaQuorumCreated(quorumId, threshold, members);
    }

    /// @notice Register a BLS key by a proof that somebody has its secret. Anybody may bring it; again, it changes nothing.
    /// @dev Without the proof a key could be chosen as the difference to others', and sign alone for all (rogue key).
    /// @param publicKey a point of G1, 128 bytes as EIP-2537 has it
    /// @param possession PopProve: a signature of the compressed key under the tag for that, a point of G2, 256 bytes
    /// @return keyHash keccak256(publicKey)
    function registerBlsKey(bytes calldata publicKey, bytes calldata possession) external returns (bytes32 keyHash) {
        keyHash = keccak256(publicKey);
        if (registered[keyHash]) return keyHash;
        if (!Bls12381.verify(publicKey, Bls12381.compress(publicKey), BLS_POSSESSION, possession)) revert NotSigned();
        registered[keyHash] = true;
        emit BlsKeyRegistered(keyHash, publicKey);
    }

    /// @notice Make a quorum of `threshold` of these registered keys. Making it again changes nothing.
    /// @param publicKeys 128 bytes each, their hashes strictly ascending, so that one is counted once
    /// @return quorumId keccak256(abi.encode("bls", threshold, keyHashes))
    function createBlsQuorum(uint8 threshold, bytes[] calldata publicKeys) external returns (bytes32 quorumId) {
        bytes32[] memory keyHashes = new bytes32[](publicKeys.length);
        for (uint256 i = 0; i < publicKeys.length; ++i) keyHashes[i] = keccak256(publicKeys[i]);
        quorumId = keccak256(abi.encode("bls", threshold, keyHashes));
        if (quorums[quorumId].kind != Kind.None) return quorumId;
        bytes memory list = new bytes(128 * keyHashes.length);
        bytes32 last = 0;
        for (uint256 i = 0; i < keyHashes.length; ++i) {
            bytes32 keyHash = keyHashes[i];
            if (keyHash <= last) revert NotAscending(i);
            if (!registered[keyHash]) revert NotRegistered(keyHash);
            bytes calldata publicKey = publicKeys[i]; // registered: 128 bytes
            assembly ("memory-safe") {
                calldatacopy(add(add(list, 32), shl(7, i)), publicKey.offset, 128)
            }
            last = keyHash;
        }
        _create(quorumId, Kind.Bls, threshold, keyHashes.length, list);
        emit BlsQuorumCreated(quorumId, threshold, keyHashes);
    }

    /// @notice Record that a quorum cosigned a checkpoint, by a signature of each signer. Anybody may bring them.
    /// @param signatures EIP-712, Checkpoint(bytes32 logId,uint64 size,bytes32 root), for this chain and contract; in
    /// strictly ascending order of their signers' addresses
    function cosignEcdsa(bytes32 quorumId, bytes32 logId, uint64 size, bytes32 root, bytes[] calldata signatures)
        external
    {
        // 1. There is such a quorum, and there are enough signatures.
        Quorum memory quorum = _quorum(quorumId, Kind.Ecdsa);
        if (signatures.length < quorum.threshold) revert TooFew(quorum.threshold, signatures.length);
        // 2. Each is of another member: signers and members both ascend, so one walk over the members finds them.
        bytes32 digest = Signed.digest(NAME, keccak256(abi.encode(CHECKPOINT, logId, size, root)));
        bytes memory list = _read(quorum.list);
        uint256 signers = 0;
        uint256 place = 0;
        address last = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address who = Signed.signer(digest, signatures[i]);
            if (who <= last) revert NotAscending(i);
            while (place < quorum.members && _member(list, place) < who) ++place;
            if (place == quorum.members || _member(list, place) != who) revert NotMember(quorumId, who);
            signers |= 1 << place;
            last = who;
        }
        _record(quorumId, logId, size, root, signers);
    }

    /// @notice Record that a quorum cosigned a checkpoint, by one signature of all signers together. Anybody may bring it.
    /// @dev What is signed names no chain and no contract: a cosignature speaks about the log, and counts wherever the
    /// same keys are a quorum.
    /// @param signers bit i is member number i
    /// @param aggregate the sum of their signatures of "forkledger/cosignature/v1" 00 || abi.encode(logId, size, root): a
    /// point of G2, 256 bytes as EIP-2537 has it
    function cosignBls(
        bytes32 quorumId,
        bytes32 logId,
        uint64 size,
        bytes32 root,
        uint256 signers,
        bytes calldata aggregate
    ) external {
        // 1. There is such a quorum, the signers are members, and enough.
        Quorum memory quorum = _quorum(quorumId, Kind.Bls);
        if (signers >> quorum.members != 0) revert NoSuchMember(signers, quorum.members);
        uint256 count = 0;
        for (uint256 rest = signers; rest != 0; rest &= rest - 1) ++count;
        if (count < quorum.threshold) revert TooFew(quorum.threshold, count);
        // 2. They signed this checkpoint: the sum of their signatures holds for the sum of their keys.
        bytes memory message = bytes.concat(COSIGNATURE, abi.encode(logId, size, root));
        bytes memory together = Bls12381.sum(_read(quorum.list), signers);
        if (!Bls12381.verify(together, message, BLS_SIGNATURE, aggregate)) revert NotSigned();
        _record(quorumId, logId, size, root, signers);
    }

    /// @notice Whether this quorum cosigned this checkpoint.
    function isCosigned(bytes32 quorumId, bytes32 logId, uint64 size, bytes32 root) external view returns (bool) {
        return cosigned[quorumId][keccak256(abi.encode(logId, size, root))];
    }

    /// @dev Keeps a quorum. Its members go into a contract's code, read at a time for the price of two storage slots.
    function _create(bytes32 quorumId, Kind kind, uint8 threshold, uint256 members, bytes memory list) private {
        if (threshold == 0 || threshold > members || members > MOST_MEMBERS) revert BadQuorum(threshold, members);
        // PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN: the code is what follows these ten bytes.
        bytes memory creation = abi.encodePacked(hex"61", uint16(list.length + 1), hex"80600a5f395ff3", hex"fe", list);
        address made;
        assembly ("memory-safe") {
            made := create(0, add(creation, 32), mload(creation))
        }
        if (made == address(0)) revert NotStored();
        quorums[quorumId] = Quorum(kind, threshold, uint8(members), made);
    }

    /// @dev The quorum of this id, whose witnesses sign in this way.
    function _quorum(bytes32 quorumId, Kind kind) private view returns (Quorum memory quorum) {
        quorum = quorums[quorumId];
        if (quorum.kind != kind) revert NoQuorum(quorumId);
    }

    /// @dev The members of a quorum, in a row.
    function _read(address list) private view returns (bytes memory members) {
        members = new bytes(list.code.length - 1);
        assembly ("memory-safe") {
            extcodecopy(list, add(members, 32), 1, mload(members))
        }
    }

    /// @dev Member number `index`; the caller has seen that there is one.
    function _member(bytes memory list, uint256 index) private pure returns (address who) {
        assembly ("memory-safe") {
            who := mload(add(add(list, 32), shl(5, index)))
        }
    }

    /// @dev Remembers and tells that a quorum cosigned; the caller has checked it.
    function _record(bytes32 quorumId, bytes32 logId, uint64 size, bytes32 root, uint256 signers) private {
        cosigned[quorumId][keccak256(abi.encode(logId, size, root))] = true;
        emit Cosigned(quorumId, logId, size, root, signers);
    }
}
