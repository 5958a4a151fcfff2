from ledger.wire.v1 import record_pb2 as _record_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Custody(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CUSTODY_UNSPECIFIED: _ClassVar[Custody]
    CUSTODY_SELF: _ClassVar[Custody]
    CUSTODY_DELEGATE: _ClassVar[Custody]
    CUSTODY_SERVICE: _ClassVar[Custody]
CUSTODY_UNSPECIFIED: Custody
CUSTODY_SELF: Custody
CUSTODY_DELEGATE: Custody
CUSTODY_SERVICE: Custody

class Entry(_message.Message):
    __slots__ = ("origin", "fork_id", "version", "previous", "topic", "body", "signatures", "authority")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    FORK_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    origin: str
    fork_id: str
    version: int
    previous: bytes
    topic: str
    body: bytes
    signatures: _containers.RepeatedCompositeFieldContainer[_record_pb2.Signature]
    authority: int
    def __init__(self, origin: _Optional[str] = ..., fork_id: _Optional[str] = ..., version: _Optional[int] = ..., previous: _Optional[bytes] = ..., topic: _Optional[str] = ..., body: _Optional[bytes] = ..., signatures: _Optional[_Iterable[_Union[_record_pb2.Signature, _Mapping]]] = ..., authority: _Optional[int] = ...) -> None: ...

class ForkCreated(_message.Message):
    __slots__ = ("fork_id", "owner_key", "recovery_key_digest", "custody", "layout_digest", "recipe_digest", "genesis_digest", "dimension", "previous")
    FORK_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_KEY_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_KEY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CUSTODY_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RECIPE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GENESIS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    fork_id: str
    owner_key: _record_pb2.PublicKey
    recovery_key_digest: bytes
    custody: Custody
    layout_digest: bytes
    recipe_digest: bytes
    genesis_digest: bytes
    dimension: int
    previous: bytes
    def __init__(self, fork_id: _Optional[str] = ..., owner_key: _Optional[_Union[_record_pb2.PublicKey, _Mapping]] = ..., recovery_key_digest: _Optional[bytes] = ..., custody: _Optional[_Union[Custody, str]] = ..., layout_digest: _Optional[bytes] = ..., recipe_digest: _Optional[bytes] = ..., genesis_digest: _Optional[bytes] = ..., dimension: _Optional[int] = ..., previous: _Optional[bytes] = ...) -> None: ...

class SignedControl(_message.Message):
    __slots__ = ("topic", "body", "signatures")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    topic: str
    body: bytes
    signatures: _containers.RepeatedCompositeFieldContainer[_record_pb2.Signature]
    def __init__(self, topic: _Optional[str] = ..., body: _Optional[bytes] = ..., signatures: _Optional[_Iterable[_Union[_record_pb2.Signature, _Mapping]]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("note", "entry_hash", "leaf_index", "fork_id", "version")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_HASH_FIELD_NUMBER: _ClassVar[int]
    LEAF_INDEX_FIELD_NUMBER: _ClassVar[int]
    FORK_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    note: bytes
    entry_hash: bytes
    leaf_index: int
    fork_id: str
    version: int
    def __init__(self, note: _Optional[bytes] = ..., entry_hash: _Optional[bytes] = ..., leaf_index: _Optional[int] = ..., fork_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...
