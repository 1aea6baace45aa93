"""Every parameter of a Transformer is below its layers, in one of them, or above."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_models
from tutelage.encoding import Reading
from tutelage.tasks import TextClassification
from tutelage.teacher import load
from tutelage.teacher.strategies import anatomy


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "gpt2", "t5", "bart"])
def test_every_parameter_is_in_one_place(kind: str, tmp_path: Path) -> None:
    folder = getattr(tiny_models, f"write_{kind}")(tmp_path)
    model = load.load(str(folder), TextClassification(("negative", "positive")), Reading(32))[0].model
    found = anatomy.found(model)
    parts = [*found.below, *found.above, *(name for layer in found.layers for name in layer)]
    assert sorted(parts) == sorted(name for name, _ in model.named_parameters())
    assert len(found.layers) == {"bert": 4, "t5": 6, "bart": 6}.get(kind, 3)
    assert any("classif" in name or "score" in name for name in found.above)
    tables = {id(model.get_input_embeddings().weight)}
    assert tables <= {id(p) for name, p in model.named_parameters() if name in found.below}


def test_what_layers_read_is_below_them_wherever_it_stands() -> None:
    """BART's decoder and DeBERTa's encoder name it behind their layers."""
    from transformers import BartConfig, DebertaV2Config
    from transformers import BartForSequenceClassification as Bart
    from transformers import DebertaV2ForSequenceClassification as Deberta

    small = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    bart = Bart(BartConfig(vocab_size=20, d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, **small))
    found = anatomy.found(bart)
    assert "model.decoder.layernorm_embedding.weight" in found.below
    assert all(name.startswith("classification_head") for name in found.above)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    relative = {"relative_attention": True, "norm_rel_ebd": "layer_norm", "pos_att_type": ["c2p", "p2c"]}
    deberta = Deberta(DebertaV2Config(vocab_size=20, **sizes, **relative, conv_kernel_size=3))
    found = anatomy.found(deberta)
    assert {"deberta.encoder.LayerNorm.weight", "deberta.encoder.conv.conv.weight"} <= set(found.below)
    assert all(name.startswith(("pooler", "classifier")) for name in found.above)
