// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The bytes of a ledger's entry
/// @notice Reads docs/format.md, "Entry": protobuf, all eight fields once, ascending, none at its default, varints of the
/// shortest form. Any other spelling is refused, though a protobuf parser would take it: a field that comes again, or is
/// out of its place, must not mean one thing here and another to an auditor.
library LedgerEntry {
    uint256 private constant LONGEST = 65_535;
    uint256 private constant FORK_ID = 36; // characters of a UUID
    bytes32 private constant RECORD = keccak256("user-training-record/v1");

    /// @notice The bytes are not an entry in its one spelling; `place` is where that shows.
    error BadEntry(uint256 place);
    /// @notice The entry is not a training record.
    error NotARecord();

    /// @notice Origin and fork id of a training record, each a slice of the bytes.
    function ofRecord(bytes calldata entry) internal pure returns (bytes calldata origin, bytes calldata forkId) {
        if (entry.length > LONGEST) revert BadEntry(LONGEST);
        bytes calldata content;
        uint256 place;
        (origin, place) = _bytes(entry, 0, 0x0a); // 1 origin
        (forkId, place) = _bytes(entry, place, 0x12); // 2 fork_id
        if (forkId.length != FORK_ID) revert BadEntry(place);
        place = _number(entry, place, 0x18); // 3 version
        (content, place) = _bytes(entry, place, 0x22); // 4 previous
        if (content.length != 32) revert BadEntry(place);
        (content, place) = _bytes(entry, place, 0x2a); // 5 topic
        if (keccak256(content) != RECORD) revert NotARecord();
        (, place) = _bytes(entry, place, 0x32); // 6 body
        (, place) = _bytes(entry, place, 0x3a); // 7 signatures: a record has one
        place = _number(entry, place, 0x40); // 8 authority
        if (place != entry.length) revert BadEntry(place);
    }

    /// @dev A field of bytes, at least one, that begins here; and where the next field begins.
    function _bytes(bytes calldata entry, uint256 place, uint8 tag)
        private
        pure
        returns (bytes calldata content, uint256 next)
    {
        uint256 length;
        (length, place) = _field(entry, place, tag);
        if (length > entry.length - place) revert BadEntry(place);
        next = place + length;
        content = entry[place:next];
    }

    /// @dev Where the field after a number, which begins here, begins.
    function _number(bytes calldata entry, uint256 place, uint8 tag) private pure returns (uint256 next) {
        (, next) = _field(entry, place, tag);
    }

    /// @dev The varint of the field with this tag: 1 to 2^64 - 1, shortest form. Zero is a default, and left out.
    function _field(bytes calldata entry, uint256 place, uint8 tag) private pure returns (uint256 value, uint256 next) {
        if (place >= entry.length || uint8(entry[place]) != tag) revert BadEntry(place);
        next = place + 1;
        for (uint256 shift = 0; shift < 70; shift += 7) {
            if (next >= entry.length) revert BadEntry(next);
            uint256 byte_ = uint8(entry[next++]);
            value |= (byte_ & 0x7f) << shift;
            if (byte_ < 0x80) {
                if (byte_ == 0 || value > type(uint64).max) revert BadEntry(next - 1);
                return (value, next);
            }
        }
        revert BadEntry(next);
    }
}
