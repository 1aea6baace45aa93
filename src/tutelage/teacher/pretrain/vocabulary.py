"""Training a tokenizer on the texts, with the `tokenizers` library: WordPiece, byte-level BPE or Unigram.

The texts stream through; what the trainers keep in memory is every different word with its count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tutelage.errors import DataError
from tutelage.pretrain_recipe import TokenizerRecipe
from tutelage.teacher.pretrain.special import NAMES, SENTINELS, sentinel

# Of a WordPiece vocabulary, at most this part goes to single characters; rarer ones become unknown.
_CHARACTERS = 4


def train(
    recipe: TokenizerRecipe, texts: Iterator[str], characters: Counter[str], *, architecture: str, length: int
) -> Any:
    """A fast tokenizer of `transformers` with exactly the vocabulary that was asked for.

    `characters` are those of the texts, counted. WordPiece and BPE give the same tokenizer for the same texts; the
    Unigram trainer of the library breaks ties by chance. Raises `DataError` when the texts do not hold so many tokens.
    """
    named = NAMES[architecture]
    special = list(dict.fromkeys(named.values()))
    if architecture == "encoder-decoder":
        special += [sentinel(number) for number in range(SENTINELS)]
    if recipe.vocabulary <= 2 * len(special):
        raise DataError(
            f"`tokenizer.vocabulary` is {recipe.vocabulary}, and {len(special)} of its tokens are special ones",
            expected=f"more than {2 * len(special)}",
            cure="raise it",
        )
    tokenizer = _KINDS[recipe.kind](recipe, texts, characters, special, named["unk_token"])
    size = tokenizer.get_vocab_size()
    if size != recipe.vocabulary:
        raise _too_small(recipe, size)
    return _finished(tokenizer, named, architecture, length, special)


def _word_piece(
    recipe: TokenizerRecipe, texts: Iterator[str], characters: Counter[str], special: list[str], unknown: str
) -> Any:
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=recipe.lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alone = _alphabet(tokenizer, characters, most=recipe.vocabulary // _CHARACTERS)
    # Inside a word a character is another token. The trainer would number those in an order that differs from process
    # to process, and ties between pairs are broken by number: given as special tokens, all are numbered here.
    inside = [f"##{c}" for c in alone if len(tokenizer.pre_tokenizer.pre_tokenize_str(f"a{c}a")) == 1]
    given = list(dict.fromkeys([*special, *alone, *inside]))
    trainer = trainers.WordPieceTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=given,
        initial_alphabet=alone,
        limit_alphabet=len(alone),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained = Tokenizer(models.WordPiece(tokenizer.get_vocab(), unk_token=unknown))
    trained.normalizer, trained.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    trained.decoder = decoders.WordPiece()
    return trained


def _alphabet(tokenizer: Any, characters: Counter[str], *, most: int) -> list[str]:
    """The most frequent characters as the tokenizer sees them, in order of their code."""
    seen: Counter[str] = Counter()
    for character, count in characters.items():
        for plain in tokenizer.normalizer.normalize_str(character):
            if not plain.isspace():
                seen[plain] += count
    common = sorted(seen, key=lambda character: (-seen[character], character))[:most]
    return sorted(common)


def _bpe(
    recipe: TokenizerRecipe, texts: Iterator[str], characters: Counter[str], special: list[str], unknown: str
) -> Any:
    del characters, unknown  # bytes are its alphabet, and none of them is unknown
    tokenizer = Tokenizer(models.BPE())
    if recipe.lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(
    recipe: TokenizerRecipe, texts: Iterator[str], characters: Counter[str], special: list[str], unknown: str
) -> Any:
    tokenizer = Tokenizer(models.Unigram())
    if recipe.lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    alone = sorted(character for character in characters if not character.isspace())
    if len(alone) + len(special) >= recipe.vocabulary:
        raise DataError(
            f"the texts have {len(alone):,} different characters, and `tokenizer.vocabulary` is {recipe.vocabulary:,}",
            expected="a vocabulary with room for every character",
            cure="raise `tokenizer.vocabulary`, or take `kind: bpe`, which reads bytes",
        )
    trainer = trainers.UnigramTrainer(
        vocab_size=recipe.vocabulary, special_tokens=special, unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


_KINDS = {"wordpiece": _word_piece, "bpe": _bpe, "unigram": _unigram}


def _finished(tokenizer: Any, named: dict[str, str], architecture: str, length: int, special: list[str]) -> Any:
    import transformers

    tokenizer.add_special_tokens(special)
    ids = {name: tokenizer.token_to_id(name) for name in special}
    if architecture == "encoder":
        first, last = named["cls_token"], named["sep_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}",
            pair=f"{first} $A {last} $B:1 {last}:1",
            special_tokens=[(first, ids[first]), (last, ids[last])],
        )
    elif architecture == "encoder-decoder":
        last = named["eos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {last}", pair=f"$A {last} $B {last}", special_tokens=[(last, ids[last])]
        )
    wrap: Any = transformers.PreTrainedTokenizerFast
    return wrap(tokenizer_object=tokenizer, model_max_length=length, **named)


def _too_small(recipe: TokenizerRecipe, size: int) -> DataError:
    if size > recipe.vocabulary:
        return DataError(
            f"the characters of the texts and the special tokens alone make {size:,} tokens",
            expected=f"at most `tokenizer.vocabulary`, which is {recipe.vocabulary:,}",
            cure="raise it, or take `kind: bpe`, which reads bytes",
        )
    return DataError(
        f"the texts are too small for the vocabulary: they hold {size:,} tokens",
        expected=f"`tokenizer.vocabulary`: {recipe.vocabulary:,}",
        cure=f"set `tokenizer.vocabulary: {size // 2}` or less (words that occur once are no tokens worth having), "
        "or give more text",
    )
