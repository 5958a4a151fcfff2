from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PayloadKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYLOAD_KIND_UNSPECIFIED: _ClassVar[PayloadKind]
    PAYLOAD_KIND_INPUT: _ClassVar[PayloadKind]
    PAYLOAD_KIND_OUTPUT: _ClassVar[PayloadKind]
    PAYLOAD_KIND_UPDATE: _ClassVar[PayloadKind]
    PAYLOAD_KIND_PARTICULARS: _ClassVar[PayloadKind]

class UpdateEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPDATE_ENCODING_UNSPECIFIED: _ClassVar[UpdateEncoding]
    UPDATE_ENCODING_EMPTY: _ClassVar[UpdateEncoding]
    UPDATE_ENCODING_SIGNS: _ClassVar[UpdateEncoding]
    UPDATE_ENCODING_SPARSE_SIGNS: _ClassVar[UpdateEncoding]
    UPDATE_ENCODING_INT4: _ClassVar[UpdateEncoding]
    UPDATE_ENCODING_INT8: _ClassVar[UpdateEncoding]
    UPDATE_ENCODING_SIGN_SUMS: _ClassVar[UpdateEncoding]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_LIKED: _ClassVar[Verdict]
    VERDICT_DISLIKED: _ClassVar[Verdict]
    VERDICT_CORRECTED: _ClassVar[Verdict]

class SignatureAlgorithm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNATURE_ALGORITHM_UNSPECIFIED: _ClassVar[SignatureAlgorithm]
    SIGNATURE_ALGORITHM_ED25519: _ClassVar[SignatureAlgorithm]
PAYLOAD_KIND_UNSPECIFIED: PayloadKind
PAYLOAD_KIND_INPUT: PayloadKind
PAYLOAD_KIND_OUTPUT: PayloadKind
PAYLOAD_KIND_UPDATE: PayloadKind
PAYLOAD_KIND_PARTICULARS: PayloadKind
UPDATE_ENCODING_UNSPECIFIED: UpdateEncoding
UPDATE_ENCODING_EMPTY: UpdateEncoding
UPDATE_ENCODING_SIGNS: UpdateEncoding
UPDATE_ENCODING_SPARSE_SIGNS: UpdateEncoding
UPDATE_ENCODING_INT4: UpdateEncoding
UPDATE_ENCODING_INT8: UpdateEncoding
UPDATE_ENCODING_SIGN_SUMS: UpdateEncoding
VERDICT_UNSPECIFIED: Verdict
VERDICT_LIKED: Verdict
VERDICT_DISLIKED: Verdict
VERDICT_CORRECTED: Verdict
SIGNATURE_ALGORITHM_UNSPECIFIED: SignatureAlgorithm
SIGNATURE_ALGORITHM_ED25519: SignatureAlgorithm

class UserTrainingRecord(_message.Message):
    __slots__ = ("user_id", "fork_id", "interaction_number", "encrypted_input", "encrypted_output", "encrypted_gradient", "learning_rate", "feedback", "metrics", "prior_update", "zkp_proof", "signature", "record_id", "payloads", "key", "update_encoding", "update_dimension", "layout_digest", "recipe_digest", "state_commitment", "created_at", "state_version", "rehearsed", "seed")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FORK_ID_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_INPUT_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PRIOR_UPDATE_FIELD_NUMBER: _ClassVar[int]
    ZKP_PROOF_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RECORD_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_ENCODING_FIELD_NUMBER: _ClassVar[int]
    UPDATE_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RECIPE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_VERSION_FIELD_NUMBER: _ClassVar[int]
    REHEARSED_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    fork_id: str
    interaction_number: int
    encrypted_input: bytes
    encrypted_output: bytes
    encrypted_gradient: bytes
    learning_rate: float
    feedback: UserFeedback
    metrics: PerformanceMetrics
    prior_update: PriorDelta
    zkp_proof: bytes
    signature: bytes
    record_id: bytes
    payloads: _containers.RepeatedCompositeFieldContainer[PayloadReference]
    key: KeyReference
    update_encoding: UpdateEncoding
    update_dimension: int
    layout_digest: bytes
    recipe_digest: bytes
    state_commitment: bytes
    created_at: int
    state_version: int
    rehearsed: bytes
    seed: int
    def __init__(self, user_id: _Optional[str] = ..., fork_id: _Optional[str] = ..., interaction_number: _Optional[int] = ..., encrypted_input: _Optional[bytes] = ..., encrypted_output: _Optional[bytes] = ..., encrypted_gradient: _Optional[bytes] = ..., learning_rate: _Optional[float] = ..., feedback: _Optional[_Union[UserFeedback, _Mapping]] = ..., metrics: _Optional[_Union[PerformanceMetrics, _Mapping]] = ..., prior_update: _Optional[_Union[PriorDelta, _Mapping]] = ..., zkp_proof: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., record_id: _Optional[bytes] = ..., payloads: _Optional[_Iterable[_Union[PayloadReference, _Mapping]]] = ..., key: _Optional[_Union[KeyReference, _Mapping]] = ..., update_encoding: _Optional[_Union[UpdateEncoding, str]] = ..., update_dimension: _Optional[int] = ..., layout_digest: _Optional[bytes] = ..., recipe_digest: _Optional[bytes] = ..., state_commitment: _Optional[bytes] = ..., created_at: _Optional[int] = ..., state_version: _Optional[int] = ..., rehearsed: _Optional[bytes] = ..., seed: _Optional[int] = ...) -> None: ...

class PayloadReference(_message.Message):
    __slots__ = ("kind", "digest")
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    kind: PayloadKind
    digest: bytes
    def __init__(self, kind: _Optional[_Union[PayloadKind, str]] = ..., digest: _Optional[bytes] = ...) -> None: ...

class KeyReference(_message.Message):
    __slots__ = ("scheme", "commitment")
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    scheme: int
    commitment: bytes
    def __init__(self, scheme: _Optional[int] = ..., commitment: _Optional[bytes] = ...) -> None: ...

class UserFeedback(_message.Message):
    __slots__ = ("rating", "verdict", "refers_to")
    RATING_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REFERS_TO_FIELD_NUMBER: _ClassVar[int]
    rating: float
    verdict: Verdict
    refers_to: bytes
    def __init__(self, rating: _Optional[float] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., refers_to: _Optional[bytes] = ...) -> None: ...

class PerformanceMetrics(_message.Message):
    __slots__ = ("loss_before", "learned_tokens", "iterations", "prompt_tokens", "completion_tokens", "guard_quarters", "loss_after", "anchor_loss")
    LOSS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    LEARNED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GUARD_QUARTERS_FIELD_NUMBER: _ClassVar[int]
    LOSS_AFTER_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_LOSS_FIELD_NUMBER: _ClassVar[int]
    loss_before: float
    learned_tokens: int
    iterations: int
    prompt_tokens: int
    completion_tokens: int
    guard_quarters: int
    loss_after: float
    anchor_loss: float
    def __init__(self, loss_before: _Optional[float] = ..., learned_tokens: _Optional[int] = ..., iterations: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., guard_quarters: _Optional[int] = ..., loss_after: _Optional[float] = ..., anchor_loss: _Optional[float] = ...) -> None: ...

class PriorDelta(_message.Message):
    __slots__ = ("generation_digest", "weight_numerator", "weight_denominator")
    GENERATION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    generation_digest: bytes
    weight_numerator: int
    weight_denominator: int
    def __init__(self, generation_digest: _Optional[bytes] = ..., weight_numerator: _Optional[int] = ..., weight_denominator: _Optional[int] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("key_id", "algorithm", "bytes")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    algorithm: SignatureAlgorithm
    bytes: bytes
    def __init__(self, key_id: _Optional[bytes] = ..., algorithm: _Optional[_Union[SignatureAlgorithm, str]] = ..., bytes: _Optional[bytes] = ...) -> None: ...

class PublicKey(_message.Message):
    __slots__ = ("algorithm", "bytes")
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    algorithm: SignatureAlgorithm
    bytes: bytes
    def __init__(self, algorithm: _Optional[_Union[SignatureAlgorithm, str]] = ..., bytes: _Optional[bytes] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("kind", "bytes")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    kind: PayloadKind
    bytes: bytes
    def __init__(self, kind: _Optional[_Union[PayloadKind, str]] = ..., bytes: _Optional[bytes] = ...) -> None: ...

class SignedRecord(_message.Message):
    __slots__ = ("body", "signatures", "payloads")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    payloads: _containers.RepeatedCompositeFieldContainer[Payload]
    def __init__(self, body: _Optional[bytes] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ..., payloads: _Optional[_Iterable[_Union[Payload, _Mapping]]] = ...) -> None: ...

class SignedRecordBatch(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[SignedRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[SignedRecord, _Mapping]]] = ...) -> None: ...
