from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Message(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...

class InteractionInput(_message.Message):
    __slots__ = ("messages", "correction", "comment", "teaches")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    TEACHES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    correction: str
    comment: str
    teaches: bool
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., correction: _Optional[str] = ..., comment: _Optional[str] = ..., teaches: _Optional[bool] = ...) -> None: ...

class InteractionOutput(_message.Message):
    __slots__ = ("answer", "finish_reason", "noted")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    NOTED_FIELD_NUMBER: _ClassVar[int]
    answer: str
    finish_reason: str
    noted: _containers.RepeatedCompositeFieldContainer[Noted]
    def __init__(self, answer: _Optional[str] = ..., finish_reason: _Optional[str] = ..., noted: _Optional[_Iterable[_Union[Noted, _Mapping]]] = ...) -> None: ...

class Noted(_message.Message):
    __slots__ = ("question", "answer")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    question: str
    answer: str
    def __init__(self, question: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...

class SentInteraction(_message.Message):
    __slots__ = ("key", "fork_id", "user", "messages", "answer", "correction", "rating", "comment", "untaught", "record_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FORK_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    UNTAUGHT_FIELD_NUMBER: _ClassVar[int]
    RECORD_ID_FIELD_NUMBER: _ClassVar[int]
    key: str
    fork_id: str
    user: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    answer: str
    correction: str
    rating: float
    comment: str
    untaught: bool
    record_id: bytes
    def __init__(self, key: _Optional[str] = ..., fork_id: _Optional[str] = ..., user: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., answer: _Optional[str] = ..., correction: _Optional[str] = ..., rating: _Optional[float] = ..., comment: _Optional[str] = ..., untaught: _Optional[bool] = ..., record_id: _Optional[bytes] = ...) -> None: ...

class SentInteractions(_message.Message):
    __slots__ = ("interactions",)
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[SentInteraction]
    def __init__(self, interactions: _Optional[_Iterable[_Union[SentInteraction, _Mapping]]] = ...) -> None: ...
