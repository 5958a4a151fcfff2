// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleLog} from "./MerkleLog.sol";
import {Signed} from "./Signed.sol";

/// @title Checkpoints of transparency logs, held to growth by append
/// @notice A log's newest checkpoint (size, root), which moves only with an RFC 6962 consistency proof from the one before.
/// Nobody can take an anchored root back or put another in its place, the log's admin and this contract's author included.
/// No upgrade path, no owner, no funds. It stands at one address on every chain.
/// @dev What it does not show: that the log's key signed the checkpoint (the chain has no Ed25519; readers compare with
/// the log's signed note, whose key `noteKeyHash` names), and that the log shows everybody else the same checkpoints.
contract LedgerAnchor {
    /// @notice A log. The first two slots are what eth_getProof readers take: root, then size, sequence, equivocated.
    struct Log {
        bytes32 root; // of the newest anchored checkpoint; of the empty tree before the first
        uint64 size; // its leaves
        uint64 sequence; // how many checkpoints were anchored
        bool equivocated; // two roots at one size were shown, signed by anchorers; never taken back
        bytes32 originHash; // keccak256 of the log's origin
        bytes32 noteKeyHash; // SHA-256(0x01 || Ed25519 public key): the key that signs the log's notes
        address admin;
        address pendingAdmin; // whom the admin has proposed; zero for nobody
    }

    /// @notice All logs, by log id.
    mapping(bytes32 logId => Log) public logs;

    /// @notice Who may anchor: 0 never could, 1 may, 2 could once. The last is remembered: see proveEquivocation.
    mapping(bytes32 logId => mapping(address who => uint8)) public anchorers;

    /// @notice Roots that were pinned, by size: they stay when the log has moved on.
    mapping(bytes32 logId => mapping(uint64 size => bytes32 root)) public pinned;

    uint8 private constant MAY = 1;
    uint8 private constant COULD = 2;
    bytes32 private constant NAME = keccak256("LedgerAnchor");
    bytes32 private constant CHECKPOINT = keccak256("Checkpoint(bytes32 logId,uint64 size,bytes32 root)");
    uint256 private constant LONGEST_ORIGIN = 128; // docs/format.md, "Names and identities"

    /// @notice A log was created. The origin stands here alone; the contract keeps its hash.
    event LogCreated(bytes32 indexed logId, address indexed admin, string origin, bytes32 noteKeyHash);
    /// @notice A checkpoint was anchored: the log's tree of `size` leaves has this root, and only added to the last.
    event Anchored(bytes32 indexed logId, uint64 indexed size, bytes32 root, uint64 sequence, address anchorer);
    /// @notice An address may anchor from now on, or no longer.
    event AnchorerSet(bytes32 indexed logId, address indexed who, bool may);
    /// @notice The admin proposed a successor; zero takes a proposal back.
    event AdminProposed(bytes32 indexed logId, address indexed admin, address indexed proposed);
    /// @notice The proposed successor has accepted.
    event AdminChanged(bytes32 indexed logId, address indexed before, address indexed admin);
    /// @notice A root was proven to be the log's at this size, and stays readable.
    event Pinned(bytes32 indexed logId, uint64 indexed size, bytes32 root);
    /// @notice Anchorers of the log, present or past, signed two roots at one size.
    event Equivocation(
        bytes32 indexed logId, uint64 indexed size, bytes32 rootA, address signerA, bytes32 rootB, address signerB
    );

    /// @notice There is no log of this id.
    error NoLog(bytes32 logId);
    /// @notice The log exists already: same creator, origin and note key.
    error LogExists(bytes32 logId);
    /// @notice An origin has 1 to 128 bytes.
    error BadOrigin(uint256 length);
    /// @notice A log names the key that signs its notes, and an anchorer is somebody.
    error Missing();
    /// @notice This address may not anchor for the log, or never could sign for it.
    error NotAnchorer(bytes32 logId, address who);
    /// @notice Not the log's admin; at acceptAdmin, not the one proposed.
    error NotAdmin(bytes32 logId, address who);
    /// @notice A checkpoint must be larger than the one anchored last.
    error NotGrown(uint64 have, uint64 came);
    /// @notice The proof does not show that the tree of `newSize` only added to that of `oldSize`.
    error NotConsistent(uint64 oldSize, uint64 newSize);
    /// @notice The size is neither the log's current one nor a pinned one.
    error NotPinned(bytes32 logId, uint64 size);
    /// @notice A tree without leaves says nothing worth pinning.
    error EmptyTree();
    /// @notice The two signed roots are the same.
    error SameRoot(bytes32 root);

    /// @notice Create a log with the sender as its admin. Its id depends on the sender, so that nobody can take it first.
    /// @param origin the log's name, the first line of its checkpoints: 1 to 128 bytes
    /// @param noteKeyHash SHA-256(0x01 || Ed25519 public key) of the key that signs its notes
    /// @param anchorer the first address that may anchor for it
    function createLog(string calldata origin, bytes32 noteKeyHash, address anchorer)
        external
        returns (bytes32 logId)
    {
        uint256 length = bytes(origin).length;
        if (length == 0 || length > LONGEST_ORIGIN) revert BadOrigin(length);
        if (noteKeyHash == 0) revert Missing();
        logId = logIdOf(msg.sender, origin, noteKeyHash);
        Log storage log = logs[logId];
        if (log.admin != address(0)) revert LogExists(logId);
        log.root = MerkleLog.EMPTY_ROOT;
        log.originHash = keccak256(bytes(origin));
        log.noteKeyHash = noteKeyHash;
        log.admin = msg.sender;
        emit LogCreated(logId, msg.sender, origin, noteKeyHash);
        _setAnchorer(logId, anchorer, true);
    }

    /// @notice The id of the log that this address creates under this origin and note key.
    function logIdOf(address creator, string calldata origin, bytes32 noteKeyHash) public pure returns (bytes32) {
        return keccak256(abi.encode(creator, keccak256(bytes(origin)), noteKeyHash));
    }

    /// @notice Anchor a checkpoint. The sender must be an anchorer of the log.
    /// @param proof RFC 6962 consistency proof from the log's current size; empty for the first checkpoint
    function anchor(bytes32 logId, uint64 size, bytes32 root, bytes32[] calldata proof) external {
        _anchor(logId, size, root, proof, msg.sender);
    }

    /// @notice Anchor a checkpoint that an anchorer signed; anybody may send it and pay.
    /// @dev Used again it is NotGrown: no nonce is needed.
    /// @param signature EIP-712, Checkpoint(bytes32 logId,uint64 size,bytes32 root)
    function anchorSigned(
        bytes32 logId,
        uint64 size,
        bytes32 root,
        bytes32[] calldata proof,
        bytes calldata signature
    ) external {
        _anchor(logId, size, root, proof, _signer(logId, size, root, signature));
    }

    /// @notice Let an address anchor for the log, or no longer. The sender must be the log's admin.
    function setAnchorer(bytes32 logId, address who, bool may) external {
        _onlyAdmin(logId);
        _setAnchorer(logId, who, may);
    }

    /// @notice Propose who shall be the log's admin; zero takes it back. The sender must be the admin, and stays it.
    function proposeAdmin(bytes32 logId, address proposed) external {
        _onlyAdmin(logId);
        logs[logId].pendingAdmin = proposed;
        emit AdminProposed(logId, msg.sender, proposed);
    }

    /// @notice Become the log's admin. The sender must be the one proposed.
    function acceptAdmin(bytes32 logId) external {
        Log storage log = logs[logId];
        address before = log.admin;
        if (before == address(0)) revert NoLog(logId);
        if (log.pendingAdmin != msg.sender) revert NotAdmin(logId, msg.sender);
        log.admin = msg.sender;
        log.pendingAdmin = address(0);
        emit AdminChanged(logId, before, msg.sender);
    }

    /// @notice Keep the root of a size for good, so that verifyInclusion and other contracts can rely on it. Anybody may.
    /// @param proof RFC 6962 consistency proof from (size, root) to the log's current checkpoint; empty where it is that
    function pin(bytes32 logId, uint64 size, bytes32 root, bytes32[] calldata proof) external {
        Log storage log = logs[logId];
        if (log.admin == address(0)) revert NoLog(logId);
        if (size == 0) revert EmptyTree();
        uint64 have = log.size;
        if (!MerkleLog.verifyConsistency(size, root, have, log.root, proof)) revert NotConsistent(size, have);
        pinned[logId][size] = root;
        emit Pinned(logId, size, root);
    }

    /// @notice Whether leaf number `index`, with this leaf hash, stands in the log's tree of `size` leaves.
    /// The size must be the log's current one, which soon passes, or a pinned one, which stays: else NotPinned.
    function verifyInclusion(bytes32 logId, uint64 size, bytes32 leafHash, uint64 index, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        Log storage log = logs[logId];
        bytes32 root = size == log.size ? log.root : pinned[logId][size];
        if (root == 0) revert NotPinned(logId, size);
        return MerkleLog.verifyInclusion(leafHash, index, size, root, proof);
    }

    /// @notice Show that anchorers of the log, present or past, signed two roots at one size. Anybody may, for good.
    /// @dev It does not stop the log: who stole a key that was revoked long ago must not be able to. Readers see the mark.
    function proveEquivocation(
        bytes32 logId,
        uint64 size,
        bytes32 rootA,
        bytes calldata signatureA,
        bytes32 rootB,
        bytes calldata signatureB
    ) external {
        if (rootA == rootB) revert SameRoot(rootA);
        address signerA = _signer(logId, size, rootA, signatureA);
        address signerB = _signer(logId, size, rootB, signatureB);
        if (anchorers[logId][signerA] == 0) revert NotAnchorer(logId, signerA);
        if (anchorers[logId][signerB] == 0) revert NotAnchorer(logId, signerB);
        logs[logId].equivocated = true;
        emit Equivocation(logId, size, rootA, signerA, rootB, signerB);
    }

    /// @dev Moves the log to a checkpoint that `anchorer` stands for.
    function _anchor(bytes32 logId, uint64 size, bytes32 root, bytes32[] calldata proof, address anchorer) private {
        Log storage log = logs[logId];
        // 1. Who stands for it may.
        if (anchorers[logId][anchorer] != MAY) {
            if (log.admin == address(0)) revert NoLog(logId);
            revert NotAnchorer(logId, anchorer);
        }
        // 2. The log grows.
        uint64 have = log.size;
        if (size <= have) revert NotGrown(have, size);
        // 3. It only adds to what was anchored.
        if (!MerkleLog.verifyConsistency(have, log.root, size, root, proof)) revert NotConsistent(have, size);
        log.root = root;
        log.size = size;
        uint64 sequence = ++log.sequence;
        emit Anchored(logId, size, root, sequence, anchorer);
    }

    /// @dev Whoever could anchor once is remembered as such; whoever never could stays a stranger.
    function _setAnchorer(bytes32 logId, address who, bool may) private {
        if (who == address(0)) revert Missing();
        uint8 was = anchorers[logId][who];
        anchorers[logId][who] = may ? MAY : was == 0 ? 0 : COULD;
        emit AnchorerSet(logId, who, may);
    }

    function _onlyAdmin(bytes32 logId) private view {
        address admin = logs[logId].admin;
        if (admin == address(0)) revert NoLog(logId);
        if (admin != msg.sender) revert NotAdmin(logId, msg.sender);
    }

    function _signer(bytes32 logId, uint64 size, bytes32 root, bytes calldata signature)
        private
        view
        returns (address)
    {
        return Signed.signer(Signed.digest(NAME, keccak256(abi.encode(CHECKPOINT, logId, size, root))), signature);
    }
}
