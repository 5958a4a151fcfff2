from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnchorProof(_message.Message):
    __slots__ = ("format", "chain_id", "genesis_hash", "contract", "log_id", "header", "account", "slots")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    GENESIS_HASH_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    format: str
    chain_id: int
    genesis_hash: bytes
    contract: bytes
    log_id: bytes
    header: bytes
    account: _containers.RepeatedScalarFieldContainer[bytes]
    slots: _containers.RepeatedCompositeFieldContainer[TriePath]
    def __init__(self, format: _Optional[str] = ..., chain_id: _Optional[int] = ..., genesis_hash: _Optional[bytes] = ..., contract: _Optional[bytes] = ..., log_id: _Optional[bytes] = ..., header: _Optional[bytes] = ..., account: _Optional[_Iterable[bytes]] = ..., slots: _Optional[_Iterable[_Union[TriePath, _Mapping]]] = ...) -> None: ...

class TriePath(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, nodes: _Optional[_Iterable[bytes]] = ...) -> None: ...
