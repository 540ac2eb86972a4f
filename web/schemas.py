"""The answers' shapes, for the API's description. Answers themselves come from TorchServe as they
are and are not built from these; a test holds both against each other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Breed(_Shape):
    """One class with its probability."""

    breed: str
    class_id: int = Field(ge=0)
    probability: float = Field(ge=0, le=1, description="Calibrated; all classes' sum to 1.")


class Timing(_Shape):
    """Milliseconds within the worker."""

    decode: float
    inference: float = Field(description="Of the whole batch that the photo was in.")


class Classification(_Shape):
    """One photo's breeds."""

    model: str
    version: str
    predictions: list[Breed] = Field(description="Best first.")
    unsure: bool = Field(description="Whether its score lies below the model's threshold.")
    timing_ms: Timing


class Problem(_Shape):
    """What went wrong (RFC 9457)."""

    type: str = Field(pattern="^urn:catbreeds:problem:[a-z-]+$")
    title: str
    status: int
    detail: str = Field(description="Names the key, its value and what is allowed.")
    request_id: str | None = Field(description="The same as in the server's logs.")


class Classifications(_Shape):
    """The answers to several photos, in their order."""

    results: list[Classification | Problem]


class Cells(_Shape):
    """Where the cells of a grid look, down as across, in pixels of the network's input."""

    first: float = Field(description="What the first one is centred on; may lie between two.")
    step: float = Field(gt=0, description="From the centre of one to that of the next.")


class Explanation(_Shape):
    """What in a photo speaks for a class."""

    model: str
    version: str
    class_: Breed = Field(alias="class")
    grid: list[list[float]] = Field(description="Positive where the photo speaks for the class.")
    cells: Cells | None = Field(None, description="Where they look; older archives do not say.")
    input_size: tuple[int, int] | None = Field(
        None, description="(height, width) in pixels; older archives do not say."
    )
    heatmap: str = Field(description="PNG in base64, transparent, to lay over the photo.")


class Input(_Shape):
    """What the network sees of a photo."""

    resize: int | tuple[int, int] = Field(description="The short side, or (height, width).")
    crop: int | None = Field(description="Side of the centre square cut out after the resize.")


class Model(_Shape):
    """One model and what its card says."""

    name: str
    default: str = Field(description="The version that answers where none is asked for.")
    versions: list[str]
    input: Input
    classes: int
    unsure_score: Literal["probability", "max-logit", "energy"] = Field(
        description="Of an answer: its best probability, its largest logit, or the log of the "
        "sum of its logits' exponentials."
    )
    unsure_threshold: float = Field(description="An answer whose score lies below it is unsure.")
    intended_use: str
    limitations: list[str]
    metrics: dict[str, Any]


class Limits(_Shape):
    """What one request may be."""

    bytes: int = Field(description="Of one photo.")
    pixels: int
    photos: int


class Models(_Shape):
    """What is served."""

    default: str
    models: list[Model]
    limits: Limits
    formats: str
    url: bool = Field(description="Whether a photo's https address is taken.")


class Alive(_Shape):
    """The gateway runs."""

    status: str
    service: str


class Readiness(_Shape):
    """Whether each model has answered a photo lately."""

    class Look(_Shape):
        """Of one model."""

        answered_s_ago: float | None
        problem: str | None

    status: str
    models: dict[str, Look]


class ProtocolProblem(Problem):
    """What went wrong, for clients of KServe's protocols, too."""

    error: str = Field("", description="The same as `detail`.")


class V1Models(_Shape):
    """The models' names (KServe v1)."""

    models: list[str]


class ModelReady(_Shape):
    """Whether a model is ready (KServe v1 and v2)."""

    name: str
    ready: bool


class V1Predictions(_Shape):
    """The answers to the instances, in their order (KServe v1)."""

    predictions: list[Classification | Problem]


class V1Explanations(_Shape):
    """What speaks for a class, instance by instance (KServe v1)."""

    explanations: list[Explanation]


class V2Server(_Shape):
    """What the server is (KServe v2)."""

    name: str
    version: str
    extensions: list[str]


class V2Live(_Shape):
    """The gateway runs (KServe v2)."""

    live: bool


class V2Ready(V2Live):
    """Whether all models are ready (KServe v2)."""

    ready: bool


class V2Tensor(_Shape):
    """An input or output (KServe v2)."""

    name: str
    datatype: Literal["BYTES"]
    shape: list[int] = Field(description="As many as there are photos; -1 for any number.")


class V2Model(_Shape):
    """What a model takes and gives (KServe v2)."""

    name: str
    versions: list[str] = Field(description="The first is the default.")
    platform: str
    inputs: list[V2Tensor]
    outputs: list[V2Tensor]


class V2Output(V2Tensor):
    """The answers to the photos, in their order (KServe v2)."""

    data: list[str] = Field(description="Each a Classification or a Problem as JSON text.")


class V2Answer(_Shape):
    """The answer to an inference request (KServe v2)."""

    model_name: str
    model_version: str | None = Field(None, description="Missing where two have answered.")
    id: str | None = Field(None, description="The request's, if it had one.")
    outputs: list[V2Output]
