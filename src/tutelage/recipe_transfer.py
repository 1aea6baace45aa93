"""The keys of a recipe that say which texts a student learns from beside the labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from tutelage.recipe_augment import AugmentRecipe
from tutelage.recipe_parts import Count, Part, Portion
from tutelage.recipe_training import lesson_of


class SelectRecipe(Part):
    """A share of the unlabelled texts and copies, instead of all."""

    share: Portion = Field(description="how many of them are taken; the teacher reads no others")
    by: Literal["uncertainty", "random"] = Field(
        "uncertainty",
        description="uncertainty: those of which a linear model, taught by the teacher on the training texts, is least "
        "sure; random is the control experiment",
    )


class AssistantRecipe(Part):
    """A student of middle size that learns first and then teaches the student (arXiv 1902.03393)."""

    size: Literal["tiny", "small", "medium"] | None = Field(
        "medium", description="a ready-made shape, as `student.size`; left out, with `layers` or `width` given: none"
    )
    layers: Count | None = Field(None, description="Transformer layers")
    width: Count | None = Field(None, description="hidden size; the teacher's keeps its layers, less projects them")
    heads: Count | None = Field(None, description="attention heads")
    feed_forward: Count | None = Field(None, description="inner size of the feed-forward blocks")
    epochs: Count | None = Field(None, description="passes over the transfer set; null: as the student's")

    @model_validator(mode="before")
    @classmethod
    def _has_a_shape_of_its_own(cls, value: Any) -> Any:
        shaped = isinstance(value, dict) and "size" not in value and ("layers" in value or "width" in value)
        return {**value, "size": None} if shaped else value

    @model_validator(mode="after")
    def _is_a_shape(self) -> AssistantRecipe:
        given = (self.layers, self.width, self.heads, self.feed_forward)
        if self.size is None and self.layers is None:
            raise ValueError("without `size`, give at least `layers`")
        if self.size is not None and any(given):
            raise ValueError("give either a `size` or a shape (layers, width ...), not both")
        if self.width and self.heads and self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided into {self.heads} heads")
        return self


class TransferRecipe(Part):
    """Whom and which texts a student learns from beside teacher and labels, and how many more would help."""

    assistant: AssistantRecipe | None = Field(
        None, description="a student of middle size that learns first and then teaches this one; null: none"
    )

    augment: AugmentRecipe | None = Field(None, description="changed copies of the texts; null: none")
    select: SelectRecipe | None = Field(
        None, description="only the most useful of the unlabelled texts and copies; null: all"
    )
    learning_curve: bool | None = Field(
        None,
        description="measure with a linear model how much more text would help; null: with `augment` or `select`",
    )

    @property
    def draws_curve(self) -> bool:
        """Whether a learning curve is wanted."""
        asked = self.augment is not None or self.select is not None
        return asked if self.learning_curve is None else self.learning_curve

    def more(self, train: int, unlabelled: int) -> int:
        """How many texts there are beside the labelled ones, at most."""
        found = unlabelled
        if self.augment is not None:
            changed = train + (unlabelled if self.augment.unlabelled else 0)
            found += changed * self.augment.each
        return found if self.select is None else round(self.select.share * found)

    def identity(self) -> dict[str, Any]:
        """What a student is known by. What is left out here does not count, so that older artifacts stay valid."""
        value = lesson_of(self).model_dump()
        if self.augment is not None:
            value["augment"] = self.augment.identity()
        gone = [key for key in TransferRecipe.model_fields if value[key] is None or key == "learning_curve"]
        gone += ["search_time", "rungs"]  # which students are tried, not how they learn
        return {key: given for key, given in value.items() if key not in gone}


def misfits(settings: TransferRecipe, unlabelled: Sequence[str] | None) -> list[str]:
    """What does not go together with `data.unlabelled`, in sentences."""
    found = []
    if settings.select is not None and settings.augment is None and unlabelled is None:
        found.append(
            "`student.select` chooses among unlabelled texts and copies: give `data.unlabelled` or `student.augment`"
        )
    if settings.augment is not None and settings.augment.unlabelled and unlabelled is None:
        found.append(
            "`student.augment.unlabelled` would do nothing without `data.unlabelled`: give it, or leave it out"
        )
    return found
