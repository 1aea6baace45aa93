"""Every parameter of a Transformer is below its layers, in one of them, or above."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_models
from tutelage.encoding import Reading
from tutelage.tasks import TextClassification
from tutelage.teacher import load
from tutelage.teacher.strategies import anatomy


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "gpt2", "t5"])
def test_every_parameter_is_in_one_place(kind: str, tmp_path: Path) -> None:
    folder = getattr(tiny_models, f"write_{kind}")(tmp_path)
    model = load.load(str(folder), TextClassification(("negative", "positive")), Reading(32))[0].model
    found = anatomy.found(model)
    parts = [*found.below, *found.above, *(name for layer in found.layers for name in layer)]
    assert sorted(parts) == sorted(name for name, _ in model.named_parameters())
    assert len(found.layers) == {"bert": 4, "t5": 6}.get(kind, 3)
    assert any("classif" in name or "score" in name for name in found.above)
    tables = {id(model.get_input_embeddings().weight)}
    assert tables <= {id(p) for name, p in model.named_parameters() if name in found.below}
