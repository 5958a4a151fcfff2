from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Layout(_message.Message):
    __slots__ = ("base_digest", "basis_digest", "segments")
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASIS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    base_digest: bytes
    basis_digest: bytes
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    def __init__(self, base_digest: _Optional[bytes] = ..., basis_digest: _Optional[bytes] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("name", "rows", "columns", "scale")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    name: str
    rows: int
    columns: int
    scale: int
    def __init__(self, name: _Optional[str] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ..., scale: _Optional[int] = ...) -> None: ...

class Recipe(_message.Message):
    __slots__ = ("target_loss", "eta", "longest_step", "rehearsed", "rewordings", "anchors", "anchors_digest", "contradiction_loss", "contradiction_iterations", "longest_row", "rewording_prompt", "own_words_weight", "update_encoding", "iterations", "contradiction_encoding", "lesson_weight", "question_prompt", "drawn_rewordings", "same_topic", "anchor_weight", "unknown_weight", "nearness", "learned_loss", "longest_iterations", "anchor_limit", "rehearsal_weight", "practice_loss", "context_weight", "context_share", "practice_drift", "drift_eta", "drift_anchors", "drift_iterations", "drift_context_share")
    TARGET_LOSS_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    LONGEST_STEP_FIELD_NUMBER: _ClassVar[int]
    REHEARSED_FIELD_NUMBER: _ClassVar[int]
    REWORDINGS_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTRADICTION_LOSS_FIELD_NUMBER: _ClassVar[int]
    CONTRADICTION_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_ROW_FIELD_NUMBER: _ClassVar[int]
    REWORDING_PROMPT_FIELD_NUMBER: _ClassVar[int]
    OWN_WORDS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_ENCODING_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    CONTRADICTION_ENCODING_FIELD_NUMBER: _ClassVar[int]
    LESSON_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    QUESTION_PROMPT_FIELD_NUMBER: _ClassVar[int]
    DRAWN_REWORDINGS_FIELD_NUMBER: _ClassVar[int]
    SAME_TOPIC_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    NEARNESS_FIELD_NUMBER: _ClassVar[int]
    LEARNED_LOSS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_LIMIT_FIELD_NUMBER: _ClassVar[int]
    REHEARSAL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PRACTICE_LOSS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_SHARE_FIELD_NUMBER: _ClassVar[int]
    PRACTICE_DRIFT_FIELD_NUMBER: _ClassVar[int]
    DRIFT_ETA_FIELD_NUMBER: _ClassVar[int]
    DRIFT_ANCHORS_FIELD_NUMBER: _ClassVar[int]
    DRIFT_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    DRIFT_CONTEXT_SHARE_FIELD_NUMBER: _ClassVar[int]
    target_loss: int
    eta: int
    longest_step: int
    rehearsed: int
    rewordings: int
    anchors: int
    anchors_digest: bytes
    contradiction_loss: int
    contradiction_iterations: int
    longest_row: int
    rewording_prompt: str
    own_words_weight: int
    update_encoding: int
    iterations: int
    contradiction_encoding: int
    lesson_weight: int
    question_prompt: str
    drawn_rewordings: int
    same_topic: int
    anchor_weight: int
    unknown_weight: int
    nearness: int
    learned_loss: int
    longest_iterations: int
    anchor_limit: int
    rehearsal_weight: int
    practice_loss: int
    context_weight: int
    context_share: int
    practice_drift: int
    drift_eta: int
    drift_anchors: int
    drift_iterations: int
    drift_context_share: int
    def __init__(self, target_loss: _Optional[int] = ..., eta: _Optional[int] = ..., longest_step: _Optional[int] = ..., rehearsed: _Optional[int] = ..., rewordings: _Optional[int] = ..., anchors: _Optional[int] = ..., anchors_digest: _Optional[bytes] = ..., contradiction_loss: _Optional[int] = ..., contradiction_iterations: _Optional[int] = ..., longest_row: _Optional[int] = ..., rewording_prompt: _Optional[str] = ..., own_words_weight: _Optional[int] = ..., update_encoding: _Optional[int] = ..., iterations: _Optional[int] = ..., contradiction_encoding: _Optional[int] = ..., lesson_weight: _Optional[int] = ..., question_prompt: _Optional[str] = ..., drawn_rewordings: _Optional[int] = ..., same_topic: _Optional[int] = ..., anchor_weight: _Optional[int] = ..., unknown_weight: _Optional[int] = ..., nearness: _Optional[int] = ..., learned_loss: _Optional[int] = ..., longest_iterations: _Optional[int] = ..., anchor_limit: _Optional[int] = ..., rehearsal_weight: _Optional[int] = ..., practice_loss: _Optional[int] = ..., context_weight: _Optional[int] = ..., context_share: _Optional[int] = ..., practice_drift: _Optional[int] = ..., drift_eta: _Optional[int] = ..., drift_anchors: _Optional[int] = ..., drift_iterations: _Optional[int] = ..., drift_context_share: _Optional[int] = ...) -> None: ...
