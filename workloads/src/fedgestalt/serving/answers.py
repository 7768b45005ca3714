"""What the service says, as it stands in OpenAPI: JSON in camelCase, every field described."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fedgestalt.flake.bands import BANDS

NOTICE: Final = (
    "Research use only. Candidates are similarities between photos, not diagnoses: a diagnosis needs a clinical "
    "assessment and a molecular test."
)


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True, extra="forbid")


class Notice(_Model):
    """Something that the reader must know about an answer."""

    code: str = Field(description="Stable code.")
    text: str = Field(description="For a reader.")
    cause: str | None = Field(default=None, description="The hub's own code, such as `BudgetSpent`.")


class Remedy(_Model):
    """What is wrong with a photo, and what mends it."""

    code: str = Field(description="Stable code, such as `head-turned`.")
    fix: str = Field(description="What to do about it.")


class Quality(_Model):
    """The photo as the gate saw it, after turning it upright."""

    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    faces: int = Field(description="Faces found; the largest was taken.")
    box: tuple[int, int, int, int] = Field(
        description="Left, top, right, bottom of the face taken, pixels; may reach over the edge."
    )
    findings: list[Remedy] = Field(description="What was found wrong and did not stop the analysis.")


class Candidate(_Model):
    """A syndrome whose nearest photo is near. Not a diagnosis."""

    rank: int = Field(description="From 1, within its list.")
    syndrome: str = Field(description="CURIE.")
    name: str | None = Field(description="If the federation's vocabulary has one.")
    band: int = Field(
        ge=1,
        le=BANDS,
        description=f"How near the nearest photo is: 1 (nearest, confirms nothing) to {BANDS} (no convincing match).",
    )
    source: str = Field(description="`local`: the own gallery. `federated`: the other silos'.")
    case: str = Field(description="Opaque handle (hex) of the nearest photo; its owner can open it.")


class Local(_Model):
    """Matches with the silo's own gallery."""

    candidates: list[Candidate]


class Federated(_Model):
    """Matches with the other silos' galleries."""

    candidates: list[Candidate]
    budget_left: int | None = Field(description="Queries that the silo may still ask in this epoch.")


class Conclusion(_Model):
    """What the lists amount to."""

    code: str = Field(description="`CandidatesToConsider` or `NoConvincingMatch`.")
    text: str


class Gallery(_Model):
    """How many photos answers come from; `own` follows gallery.npz."""

    own: int = Field(description="Diagnosed photos of this silo.")
    federation: int = Field(description="Of all silos when the release was made.")


class ModelMember(_Model):
    """One network of the ensemble."""

    name: str
    extractor: str


class Model(_Model):
    """The extractor that made the embedding."""

    bundle: str = Field(description="Digest of the bundle.")
    preprocessing: str
    members: list[ModelMember]


class ReleaseName(_Model):
    """Which release answered."""

    digest: str
    name: str


class Analysis(_Model):
    """The answer to a photo. Nothing of it is kept."""

    notice: str
    conclusion: Conclusion
    local: Local
    federated: Federated | None = Field(
        description="null where the federation did not answer; see `notices`."
    )
    notices: list[Notice]
    quality: Quality
    model: Model
    release: ReleaseName
    epoch: str
    gallery: Gallery


class ReleaseInfo(_Model):
    """The release that is served."""

    notice: str
    digest: str
    name: str
    operation: str
    parents: list[str]
    epoch: str
    silo: str
    model: Model
    gallery: Gallery
    syndromes: int = Field(description="That answers can name.")
    bands: int = Field(description="How many bands there are; the last one is no convincing match.")
    federation: bool = Field(description="Whether the service asks the federation.")
    software: str = Field(description="Version of the service.")


class Health(_Model):
    """A probe's answer."""

    status: str


class ProblemDocument(BaseModel):
    """RFC 9457, with a stable code and a fix. PhotoUnfit has `findings`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    fix: str
    findings: list[Remedy] | None = None
