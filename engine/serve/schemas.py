"""What requests and answers look like, as pydantic models; the OpenAPI page is made of them.

Source: OpenAI's embeddings, vLLM's chat form of them, Cohere's and Jina's rerank.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

TokenId = Annotated[StrictInt, Field(ge=0, lt=2**31)]
Text = Annotated[StrictStr, Field(max_length=1 << 20)]


class _Request(BaseModel):
    # Clients of other servers send fields of their own (user, truncate_prompt_tokens ...).
    model_config = ConfigDict(extra="ignore")


class AudioUrl(_Request):
    url: Annotated[
        StrictStr, Field(description="data:audio/...;base64,... or, where the server allows its host, https://...")
    ]


class InputAudio(_Request):
    data: Annotated[StrictStr, Field(description="A sound file in base64")]
    format: StrictStr = "wav"


class TextPart(_Request):
    type: Literal["text"]
    text: Text


class AudioUrlPart(_Request):
    type: Literal["audio_url"]
    audio_url: AudioUrl


class InputAudioPart(_Request):
    type: Literal["input_audio"]
    input_audio: InputAudio


Part = Annotated[TextPart | AudioUrlPart | InputAudioPart, Field(discriminator="type")]


class Message(_Request):
    role: Literal["system", "user"]
    content: Text | Annotated[list[Part], Field(min_length=1)]


Conversation = Annotated[list[Message], Field(min_length=1)]


class EmbeddingsRequest(_Request):
    model: StrictStr | None = None
    input: (
        Text
        | Annotated[list[Text], Field(min_length=1)]
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1)]
        | None
    ) = None
    messages: Annotated[
        Conversation | Annotated[list[Conversation], Field(min_length=1)] | None,
        Field(description="Instead of input: one conversation, or a list of them, each a text, a sound or both"),
    ] = None
    instruction: Annotated[Text | None, Field(description="For recipes that take one")] = None
    dimensions: Annotated[
        Annotated[StrictInt, Field(ge=1)] | None,
        Field(description="Keep the first so many components, scaled to unit length"),
    ] = None
    encoding_format: Literal["float", "base64"] = "float"
    skip_errors: Annotated[
        bool,
        Field(
            strict=True, description="Answer with the items that could be embedded, and list the others under errors"
        ),
    ] = False


class ItemError(BaseModel):
    index: int
    message: str


class EmbeddingRow(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Annotated[list[float] | str, Field(description="Numbers, or little-endian float32 in base64")]


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"] = "list"
    model: str
    data: list[EmbeddingRow]
    usage: Usage
    errors: list[ItemError] = []


class Document(_Request):
    """A text, a sound, or the parts of a chat message."""

    text: Text | None = None
    audio_url: AudioUrl | None = None
    content: Text | Annotated[list[Part], Field(min_length=1)] | None = None


class RerankRequest(_Request):
    model: StrictStr | None = None
    query: Text | Document
    documents: Annotated[list[Text | Document], Field(min_length=1)]
    top_n: Annotated[StrictInt, Field(ge=1)] | None = None
    return_documents: Annotated[bool, Field(strict=True)] = False


class RerankRow(BaseModel):
    index: int
    relevance_score: float
    document: Any = None


class RerankAnswer(BaseModel):
    id: str
    model: str
    results: list[RerankRow]
    errors: list[ItemError] = []


class SearchRequest(_Request):
    query: Annotated[Text | Document | None, Field(description="A text or a sound")] = None
    like: Annotated[
        Annotated[StrictInt, Field(ge=0)] | None, Field(description="A row of the index, instead of a query")
    ] = None
    k: Annotated[StrictInt, Field(ge=1, le=1000)] = 10
    instruction: Text | None = None
    tags: Annotated[list[Text], Field(description="Only sounds that have all of these")] = []
    filter: Annotated[Text | None, Field(description="An expression over the index's columns")] = None
    rerank: Annotated[bool, Field(strict=True, description="Let the reranker order the hits")] = False


class SearchRow(BaseModel):
    rank: int
    position: int
    score: float
    name: str
    caption: str | None = None
    tags: list[str] = []
    duration_s: float | None = None
    audio_url: str | None = None
    p_yes: Annotated[float | None, Field(description="The reranker's P(Yes)")] = None
    retrieval_rank: Annotated[int | None, Field(description="Rank before the reranker")] = None


class SearchAnswer(BaseModel):
    hits: list[SearchRow]
    took_ms: float


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    owned_by: str = "harken"
    dimensions: int
    recipe: str
    fingerprint: str


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None
    items: list[ItemError] | None = None


class ErrorAnswer(BaseModel):
    error: ErrorBody
