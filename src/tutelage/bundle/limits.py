"""What a bundle promises about its input: `limits.json`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tutelage.recipe import Precision
from tutelage.version import __version__

FORMAT = 1
INPUTS: tuple[Literal["input_ids"], Literal["attention_mask"]] = ("input_ids", "attention_mask")
OUTPUT = "logits"
# What a graph of several levels can also say.
LEVEL = "level"


class Limits(BaseModel):
    """How a text becomes tokens, and how much of it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = Field(FORMAT, ge=FORMAT, le=FORMAT, description="version of the folder's layout")
    inputs: tuple[Literal["input_ids"], Literal["attention_mask"]] = Field(
        INPUTS, description="inputs of the graph, int64 (B, T) each"
    )
    max_tokens: Annotated[int, Field(ge=8)] = Field(256, description="longest sequence, special tokens included")
    long_text: Literal["truncate", "window"] = "truncate"
    stride: Annotated[int, Field(ge=0)] = Field(64, description="tokens that neighbouring windows share")
    characters_per_token: Annotated[int, Field(ge=1)] = Field(
        16, description="when truncating, max_tokens times this many characters reach the tokenizer"
    )
    max_characters: Annotated[int, Field(ge=1)] = Field(100_000, description="characters of a text that are read")
    normalise: bool = Field(True, description="whether texts go through `tutelage.text.normalise`")
    plain: bool = Field(False, description="whether a text has none of the tokens that are put around it")
    pad_id: Annotated[int, Field(ge=0)] = 0
    precision: Precision = "fp32"
    tutelage: str = Field(__version__, description="version that wrote the bundle")

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        if self.long_text == "window" and self.stride >= self.max_tokens:
            raise ValueError(f"stride {self.stride} must be below max_tokens {self.max_tokens}")
        return self
