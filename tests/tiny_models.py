"""Real Transformers of every kind, small enough to train in a second."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

REVIEWS = Path(__file__).parent / "material" / "reviews.csv"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def reviews() -> list[dict[str, str]]:
    """480 rows with text, label and rating."""
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def word_piece(vocabulary: int = 800, *, more: Sequence[str] = ()) -> Any:
    """A fast tokenizer of `transformers`, trained on the reviews; `more` are further tokens at its end."""
    pieces = _word_pieces(vocabulary)
    pieces |= {piece: len(pieces) + number for number, piece in enumerate(more)}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return _fast(tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


def _word_pieces(size: int) -> dict[str, int]:
    """All characters, then the most frequent words: the library's trainer breaks ties differently in every process."""
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for row in reviews():
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(row["text"])))
    characters = sorted({character for word in words for character in word})
    pieces = [*SPECIAL, *characters, *(f"##{character}" for character in characters)]
    common = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0]))]
    pieces += [word for word in common if word not in set(pieces)]
    return {piece: number for number, piece in enumerate(pieces[:size])}


def byte_bpe(vocabulary: int = 600) -> Any:
    """A GPT-2 type tokenizer: bytes, merges, no padding token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([row["text"] for row in reviews()], trainer)
    return _fast(tokenizer, eos_token="<end>", bos_token="<end>")


def unigram(vocabulary: int = 600) -> Any:
    """A T5 type tokenizer: pieces with scores, an end token behind every text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([row["text"] for row in reviews()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return _fast(tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


SIZE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
"""As most architectures call it."""


def write_bert(folder: Path, *, layers: int = 4, width: int = 32) -> Path:
    """An untrained BERT encoder without a head."""
    from transformers import BertConfig, BertModel

    tokenizer = word_piece()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return _write(folder, BertModel, config, tokenizer)


def write_gpt2(folder: Path, *, layers: int = 3) -> Path:
    """An untrained GPT-2 without a head."""
    from transformers import GPT2Config, GPT2Model

    tokenizer = byte_bpe()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=layers, n_head=4, n_positions=128)
    return _write(folder, GPT2Model, config, tokenizer)


def write_t5(folder: Path, *, layers: int = 3, decoder: int | None = None) -> Path:
    """An untrained T5 without a head, its decoder as deep as its encoder if nothing else is given."""
    from transformers import T5Config, T5Model

    tokenizer = unigram()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=layers,
        num_decoder_layers=decoder,
        num_heads=4,
        decoder_start_token_id=0,
    )
    return _write(folder, T5Model, config, tokenizer)


def write_bart(folder: Path, *, layers: int = 3, decoder: int = 3) -> Path:
    """An untrained BART without a head."""
    from transformers import BartConfig, BartModel

    tokenizer = unigram()
    inner = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        **inner,
        encoder_layers=layers,
        decoder_layers=decoder,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        decoder_start_token_id=1,
        forced_eos_token_id=1,
    )
    return _write(folder, BartModel, config, tokenizer)


def write_roberta(folder: Path) -> Path:
    """An untrained RoBERTa without a head; its own head has two layers and no pooler."""
    from transformers import RobertaConfig, RobertaModel

    tokenizer = word_piece()
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        **SIZE,
        max_position_embeddings=132,
        pad_token_id=0,
    )
    return _write(folder, RobertaModel, config, tokenizer)


def write_distilbert(folder: Path) -> Path:
    """An untrained DistilBERT without a head."""
    from transformers import DistilBertConfig, DistilBertModel

    tokenizer = word_piece()
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=32,
        n_layers=3,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return _write(folder, DistilBertModel, config, tokenizer)


def write_modernbert(folder: Path) -> Path:
    """An untrained ModernBERT without a head: rotary positions, gated neurons."""
    from transformers import ModernBertConfig, ModernBertModel

    tokenizer = word_piece()
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        **SIZE,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    )
    return _write(folder, ModernBertModel, config, tokenizer)


def write_albert(folder: Path) -> Path:
    """An untrained ALBERT without a head: three layers of the same weights."""
    from transformers import AlbertConfig, AlbertModel

    tokenizer = word_piece()
    config = AlbertConfig(
        vocab_size=len(tokenizer),
        embedding_size=16,
        **SIZE,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return _write(folder, AlbertModel, config, tokenizer)


def write_llama(folder: Path) -> Path:
    """An untrained Llama without a head: rotary positions, gated neurons, an embedding that knows its padding."""
    from transformers import LlamaConfig, LlamaModel

    tokenizer = byte_bpe()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        **SIZE,
        num_key_value_heads=4,
        max_position_embeddings=128,
    )
    return _write(folder, LlamaModel, config, tokenizer)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _write(folder: Path, kind: Any, config: Any, tokenizer: Any) -> Path:
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _fast(tokenizer: Tokenizer, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
