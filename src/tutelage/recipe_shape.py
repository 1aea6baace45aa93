"""The part of a recipe that says what a student is built from: its layers, its tokens, and what stands for them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tutelage.recipe_parts import Count, Part


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"a convolution sees as many tokens on both sides: {value - 1} or {value + 1}, not {value}")
    return value


Kernel = Annotated[int, Field(ge=3, le=15), AfterValidator(_odd)]


class ShapeRecipe(Part):
    """How large a student is."""

    size: Literal["auto", "static", "tiny", "small", "medium"] | None = Field(
        "auto", description="a ready-made shape; null with layers / width given"
    )
    layers: Count | None = Field(None, description="Transformer layers")
    width: Count | None = Field(None, description="hidden size; the teacher's keeps its layers, less projects them")
    heads: Count | None = Field(None, description="attention heads")
    feed_forward: Count | None = Field(None, description="inner size of the feed-forward blocks")
    convolution: Literal["auto", "none"] | Kernel = Field(
        "auto",
        description="how many neighbouring tokens at once a convolution between embeddings and layers sees; "
        "auto: 5 for a single layer of an encoder, none for others",
    )
    vocabulary: Literal["trim", "keep"] = Field("trim", description="drop tokens that the texts never use, or not")
    vocabulary_size: Literal["auto"] | Count = Field(
        "auto",
        description="when trimming: about so many tokens, those that the texts use most, filled up with the language's "
        "most common; auto: all that they use, at least 20,000",
    )
    embeddings: Literal["auto", "whole", "coded"] = Field(
        "auto",
        description="coded: the rows of all but the most used tokens are put together from shared pieces, in about a "
        "third of the bytes; auto: where `max_mb` cannot be reached without",
    )
    freeze_embeddings: Literal["auto"] | bool = Field(
        "auto", description="leave the teacher's embeddings as they are; auto: when they were not projected"
    )

    @model_validator(mode="after")
    def _is_a_shape(self) -> Self:
        if self.size is None and self.layers is None:
            raise ValueError("with `size: null`, give at least `layers`")
        if self.size not in (None, "auto") and any((self.layers, self.width, self.heads, self.feed_forward)):
            raise ValueError("give either a `size` or a shape (layers, width ...), not both")
        if self.size == "static" and self.convolution == "none":
            raise ValueError("`size: static` reads phrases through a convolution: leave out `convolution: none`")
        if self.width and self.heads and self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided into {self.heads} heads")
        if self.embeddings == "coded" and self.freeze_embeddings is False:
            raise ValueError("coded embeddings stay as they are: leave out `freeze_embeddings: false`")
        return self
