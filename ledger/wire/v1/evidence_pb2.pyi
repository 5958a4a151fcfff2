from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Evidence(_message.Message):
    __slots__ = ("format", "checkpoint", "entry", "authority", "anchor")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_FIELD_NUMBER: _ClassVar[int]
    format: str
    checkpoint: bytes
    entry: LoggedEntry
    authority: LoggedEntry
    anchor: Anchoring
    def __init__(self, format: _Optional[str] = ..., checkpoint: _Optional[bytes] = ..., entry: _Optional[_Union[LoggedEntry, _Mapping]] = ..., authority: _Optional[_Union[LoggedEntry, _Mapping]] = ..., anchor: _Optional[_Union[Anchoring, _Mapping]] = ...) -> None: ...

class LoggedEntry(_message.Message):
    __slots__ = ("leaf_index", "entry", "path")
    LEAF_INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    leaf_index: int
    entry: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, leaf_index: _Optional[int] = ..., entry: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Anchoring(_message.Message):
    __slots__ = ("proof", "path")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, proof: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ...) -> None: ...
