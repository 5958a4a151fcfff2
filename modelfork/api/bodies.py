"""The JSON bodies that come in, checked once at the edge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from modelfork.interaction import LONGEST_TEXT

LONGEST_KEY = 255  # characters
LONGEST_USER = 255  # characters of an app's own id of an end user
MOST_MESSAGES = 256
LARGEST_TOTAL = 262_144  # characters of a whole conversation

FORK_OF_USER = "fork"  # the model that is the fork of whom `user` names


def _text_of_parts(content: Any) -> Any:
    """OpenAI clients may send content as a list of parts; text parts are joined, others refused."""
    if isinstance(content, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            raise ValueError("only text parts are supported")
        if not all(isinstance(part.get("text"), str) for part in content):
            raise ValueError("expected a string as the text of a text part")
        return "".join(part["text"] for part in content)
    return content


def _unless_blank(text: str) -> str:
    return text if text.strip() else ""


# A string with a length is refused where UTF-8 cannot hold it (half of a surrogate pair); a bare `str` is not.
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Correction = Annotated[Text, AfterValidator(_unless_blank)]  # spaces correct nothing
Rating = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False, strict=True)]  # a number: neither true nor "1"
User = Annotated[str, Field(min_length=1, max_length=LONGEST_USER)]
RecordId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class MessageBody(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text, BeforeValidator(_text_of_parts)]


Messages = Annotated[list[MessageBody], Field(min_length=1, max_length=MOST_MESSAGES)]


class _WithMessages(BaseModel):
    messages: Messages

    @model_validator(mode="after")
    def _ends_with_the_person(self) -> _WithMessages:
        if self.messages[-1].role != "user" or not self.messages[-1].content.strip():
            raise ValueError("messages: expected a user message that is not empty at the end")
        if sum(len(message.content) for message in self.messages) > LARGEST_TOTAL:
            raise ValueError(f"messages: expected at most {LARGEST_TOTAL} characters together")
        return self


class ForkBody(BaseModel):
    """POST /v1/forks: a fork in service custody. With `user`, an app's own id of an end user, their one fork."""

    model_config = ConfigDict(extra="forbid")

    user: User | None = None


class StreamOptions(BaseModel):
    include_usage: StrictBool = False


class TextFormat(BaseModel):
    type: Literal["text"]


class ChatBody(_WithMessages):
    """POST /v1/chat/completions, as OpenAI specifies it. What cannot be honoured is refused, not ignored.

    `model` is a fork's id, or `fork`: that of the end user whom `user` names, made on first use.
    """

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=100)
    user: User | None = None
    stream: StrictBool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    store: StrictBool | None = None
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    functions: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    function_call: Literal["none", "auto"] | None = None
    response_format: TextFormat | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    audio: Literal[None] = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    top_logprobs: Literal[0] | None = None

    @model_validator(mode="after")
    def _names_a_fork(self) -> ChatBody:
        if self.model == FORK_OF_USER and self.user is None:
            raise ValueError(f"user: expected the id of an end user with the model `{FORK_OF_USER}`")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in given if stop)


class InteractionBody(_WithMessages):
    """POST /v1/forks/{id}/interactions: a turn that an app generated elsewhere."""

    model_config = ConfigDict(extra="forbid")

    answer: Text
    correction: Correction = ""
    rating: Rating | None = None
    comment: Text = ""
    store: StrictBool = True


class VerdictBody(BaseModel):
    """POST /v1/forks/{id}/verdicts: what the person thinks of an earlier answer."""

    model_config = ConfigDict(extra="forbid")

    record_id: RecordId
    correction: Correction = ""
    rating: Rating | None = None
    comment: Text = ""

    @model_validator(mode="after")
    def _says_something(self) -> VerdictBody:
        if not self.correction and self.rating is None:
            raise ValueError("expected a rating, a correction or both")
        return self


class LearningBody(BaseModel):
    """PUT /v1/forks/{id}/learning: whether the fork learns."""

    model_config = ConfigDict(extra="forbid")

    paused: StrictBool


Key = Annotated[str, Field(min_length=1, max_length=LONGEST_KEY)]


class KeyedInteraction(InteractionBody):
    """One of a batch: `key` does for it what an Idempotency-Key does for a request."""

    key: Key


class KeyedVerdict(VerdictBody):
    key: Key


class _NamesItsFork(BaseModel):
    fork_id: str | None = Field(default=None, max_length=36)
    user: User | None = None

    @model_validator(mode="after")
    def _names_one_fork(self) -> _NamesItsFork:
        if (self.fork_id is None) == (self.user is None):
            raise ValueError("expected either fork_id or user")
        return self


class StreamedInteraction(KeyedInteraction, _NamesItsFork):
    """A frame of the stream of interactions: a turn that an app generated elsewhere."""


class StreamedVerdict(KeyedVerdict, _NamesItsFork):
    """A frame of the stream of interactions: a verdict on an earlier answer."""
