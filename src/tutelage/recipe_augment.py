"""The keys of a recipe that say how texts are changed: for a student, which asks its teacher, and for a teacher."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tutelage.recipe_parts import Count, Name, Part, Portion, Positive, as_list

# The table in augment/ways.py says what each does; a test holds the names together.
WayName = Literal["swap", "delete", "synonym", "recombine", "mask", "back-translate"]
# What takes whole texts or halves of them changes no share of the words.
_WHOLE = ("recombine", "back-translate")


def _as_translator(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


class TranslatorRecipe(Part):
    """A sequence-to-sequence model that translates; its folder or id alone will do where it needs no prefix."""

    model: Name = Field(description="local folder or hub id, such as a MarianMT or T5 model")
    prefix: str = Field(
        "", description="put before every text, such as `translate English to German: ` (T5) or `>>deu<< ` (Marian)"
    )


Translator = Annotated[TranslatorRecipe, BeforeValidator(_as_translator)]


class TranslatorsRecipe(Part):
    """Two models that translate into another language and back."""

    there: Translator = Field(description="into the other language: a folder, a hub id, or a mapping as below")
    back: Translator = Field(description="and back from it: likewise")
    temperature: Positive | None = Field(
        None,
        description="null: the likeliest word at each place, which makes one copy; else words are drawn, the further "
        "from the likeliest the higher",
    )


class CopiesRecipe(Part):
    """How copies of texts are changed."""

    ways: Annotated[list[WayName], BeforeValidator(as_list), Field(min_length=1)] = Field(
        description="how texts are changed: neighbouring words change places, words are left out, words of much the "
        "same meaning by the teacher's embeddings, halves of two texts, words that a masked model puts into gaps, "
        "translation into another language and back"
    )
    copies: Count = Field(1, description="copies of each text, by each way")
    rate: Portion = Field(0.1, description="share of a text's words that a copy changes; one at least")
    masked_model: Name | None = Field(
        None,
        description="with `mask`: a local folder or hub id of a masked language model, as `tutelage pretrain` makes",
    )
    translators: TranslatorsRecipe | None = Field(
        None, description="with `back-translate`: the models that translate `there` and `back`"
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        fields = type(self).model_fields
        if len(set(self.ways)) < len(self.ways):
            raise ValueError("`ways` names a way twice; `copies` makes several of each")
        for way, key in (("mask", "masked_model"), ("back-translate", "translators")):
            if (way in self.ways) != (getattr(self, key) is not None):
                raise ValueError(f"the way `{way}` and `{key}` belong together: give both, or neither")
        if set(self.ways) <= set(_WHOLE) and self.rate != fields["rate"].default:
            raise ValueError(f"rate would do nothing with `ways: [{', '.join(self.ways)}]` alone: leave it out")
        if self.translators is not None and self.translators.temperature is None and self.copies > 1:
            raise ValueError(
                f"`copies: {self.copies}` by `back-translate` would be the same text each time: give "
                "`translators.temperature`, or one copy"
            )
        return self

    @property
    def each(self) -> int:
        """Copies of one text, at most."""
        return len(self.ways) * self.copies

    def identity(self) -> dict[str, Any]:
        """What copies are known by. What is left out here does not count, so that older artifacts stay valid."""
        value = self.model_dump()
        if self.translators is None:
            del value["translators"]
        return value


class AugmentRecipe(CopiesRecipe):
    """Changed copies of the texts for the student; the teacher says what they mean."""

    keep: Literal["agreement", "all"] = Field(
        "agreement",
        description="agreement: a copy of a labelled text is dropped where the teacher's answer to it is another one; "
        "halves of two texts always stay",
    )
    tolerance: Positive = Field(
        0.5,
        description="with values instead of classes: how far the teacher's answer may move, in standard deviations of "
        "the labels",
    )
    unlabelled: bool = Field(False, description="change the texts of `data.unlabelled` too")

    @model_validator(mode="after")
    def _asks_for_something(self) -> AugmentRecipe:
        default = type(self).model_fields
        if self.ways == ["recombine"]:
            given = [key for key in ("keep", "tolerance") if getattr(self, key) != default[key].default]
            if given:
                raise ValueError(f"{' and '.join(given)} would do nothing with `ways: [recombine]` alone: leave it out")
        if self.keep == "all" and self.tolerance != default["tolerance"].default:
            raise ValueError("`tolerance` would do nothing with `keep: all`: leave it out")
        return self


class TeacherAugmentRecipe(CopiesRecipe):
    """Changed copies of the training texts for the teacher; each has the label of its text. For classes only."""
