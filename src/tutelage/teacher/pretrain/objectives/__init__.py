"""What a model learns from raw text by; one file each, all of the shape of `base.Objective`."""

from __future__ import annotations

from tutelage.teacher.pretrain.objectives.base import Objective
from tutelage.teacher.pretrain.objectives.causal import Causal
from tutelage.teacher.pretrain.objectives.masked import Masked
from tutelage.teacher.pretrain.objectives.span import Span

OBJECTIVES: dict[str, type[Objective]] = {"masked": Masked, "causal": Causal, "span": Span}
