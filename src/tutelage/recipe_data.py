"""The keys of a recipe that say where texts and labels are: the task's own, and further labelled data sets."""

from __future__ import annotations

import math
import unicodedata
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tutelage.recipe_parts import Count, Name, Part, Positive, Share, Sources


def label_key(value: Any) -> str:
    """A raw label as the keys of a label map are compared: 1, 1.0, "1" and "1.0" are one key, True and "True" are
    "true", and what looks the same in Unicode is the same."""
    text = unicodedata.normalize("NFC", str(value).strip())
    if text in ("True", "False"):
        return text.lower()
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def _with_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    keys = [label_key(key) for key in value]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the label {' and '.join(map(repr, twice))} has two entries; 1 and 1.0 are one label")
    return dict(zip(keys, value.values(), strict=True))


Label = str | int | float | bool
LabelMap = Annotated[dict[str, Label | None], BeforeValidator(_with_keys), Field(min_length=1)]


class OtherRecipe(Part):
    """Labelled rows from elsewhere, and how their labels are called here."""

    source: Sources = Field(description="like `data.train`")
    text: Name | None = Field(None, description="column of the text; null: as `data.text`")
    label: Name | None = Field(None, description="column of the label; null: as `data.label`")
    labels: LabelMap | None = Field(
        None,
        description="their labels as ours, such as `{1: bad, 2: bad, 3: null, 4: good}`: null leaves the rows out, and "
        "every label needs an entry; null: their labels are ours",
    )


class MoreRecipe(OtherRecipe):
    """A further labelled data set to train on."""

    weight: Positive = Field(
        1.0,
        description="how often each of its rows is drawn where one of our own is drawn once; 0.5: in half the epochs",
    )


class AlsoTestRecipe(OtherRecipe):
    """Another domain or language that every model is measured on; nothing is learned or chosen from it."""

    name: Name | None = Field(None, description="what the tables call it; null: the name of the file")

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.name or PurePath(self.source[0].partition(":")[0]).name.partition(".")[0] or self.source[0]


class DataRecipe(Part):
    """Where the texts and labels are, and how they are made ready."""

    train: Sources = Field(
        description="file, list of files, folder of class folders, saved `datasets` folder or hub id"
    )
    validation: Sources | None = Field(None, description="like train; null takes a share of train")
    test: Sources | None = Field(None, description="like train; null takes a share of train")
    text: Name = Field("text", description="column of the text")
    label: Name = Field("label", description="column of the label")
    unlabelled: Sources | None = Field(None, description="more texts without labels, for the student")
    more: Annotated[list[MoreRecipe], Field(min_length=1)] | None = Field(
        None, description="further labelled data sets to train on; validation and test stay our own"
    )
    sampling_temperature: Annotated[float, Field(ge=1)] = Field(
        1.0,
        description="with `more`: sets are drawn in proportion to weight * rows ** (1 / this); larger: a large set "
        "counts for less",
    )
    also_test: Annotated[list[AlsoTestRecipe], Field(min_length=1)] | None = Field(
        None, description="other domains or languages that every model is measured on too, beside the test"
    )
    group: str | None = Field(
        None, description="column of train whose equal values stay in one of the splits that are made from it"
    )
    validation_share: Share = Field(0.1, description="share of train that becomes validation, if none is given")
    test_share: Share = Field(0.2, description="share of train that becomes test, if none is given")
    judge_share: Share = Field(
        0.15, description="share of train kept aside to judge the candidates of a search, if `student` has a goal"
    )
    encoding: str = Field("utf-8", description="encoding of text files")
    normalise: bool = Field(True, description="mend broken Unicode, unify spaces, drop control characters")
    deduplicate: bool = Field(True, description="keep one of rows whose text is equal, and none that is in test")
    max_bad_rows: Share = Field(0.01, description="stop when a larger share of the rows cannot be used")
    max_characters: Count = Field(100_000, description="a longer text is a bad row")
    max_tokens: int = Field(256, ge=8, description="tokens the model reads at once, special ones included")
    long_text: Literal["truncate", "window"] = Field(
        "truncate",
        description="a longer text is cut, or read in overlapping windows whose answers are averaged",
    )

    @model_validator(mode="after")
    def _samples_something(self) -> DataRecipe:
        if self.more is None and self.sampling_temperature != 1:
            raise ValueError("`sampling_temperature` would do nothing without `more`: give it, or leave it out")
        return self

    @model_validator(mode="after")
    def _names_each_test_once(self) -> DataRecipe:
        titles = [other.title for other in self.also_test or []]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if "test" in titles:
            raise ValueError("a set of `also_test` would be called test, as our own is: give it a `name`")
        if twice:
            raise ValueError(f"two sets of `also_test` are called {' and '.join(twice)}: give each a `name` of its own")
        return self

    @property
    def draws_unevenly(self) -> bool:
        """Whether some of the rows to train on may be drawn more often than others."""
        return bool(self.more) and (self.sampling_temperature != 1 or any(one.weight != 1 for one in self.more or []))
