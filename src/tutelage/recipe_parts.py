"""What recipes are made of: a strict part, and the kinds of values that occur in more than one."""

from __future__ import annotations

from os.path import expanduser
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]
Portion = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Folder = Annotated[Name, AfterValidator(expanduser)]
# Libraries take 32 bits; other seeds are made by adding to it.
Seed = Annotated[int, Field(ge=0, le=4_000_000_000)]
TaskName = Literal["text-classification", "text-regression"]


def as_list(value: Any) -> Any:
    """One text for a list of it."""
    return [value] if isinstance(value, str) else value


Sources = Annotated[list[Name], BeforeValidator(as_list), Field(min_length=1)]


class Part(BaseModel):
    """Frozen and strict: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())
