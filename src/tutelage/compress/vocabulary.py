"""Keep the tokens that the texts and the language need, with a tokenizer that matches.

What is dropped is not lost to `[UNK]`: single characters stay, so a word that is not kept falls apart into smaller
pieces. Follows the idea of vocabulary trimming (Abdaoui et al. 2020, "Load What You Need", arXiv 2010.05609).
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.recipe import StudentRecipe

_AUTO = 20_000  # tokens
# What a vocabulary is made from: not the rows that a student will be judged on.
_SEEN = ("train", "validation", "unlabelled")


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer of `transformers` and the original id behind each of its own, in order."""

    tokenizer: Any
    kept: tuple[int, ...]


def of_corpus(teacher: Network, corpus: Corpus, settings: StudentRecipe, *, more: Sequence[Split] = ()) -> Vocabulary:
    """The vocabulary of every student of a teacher, from the texts that it may see, and from some more.

    Texts that are there twice count once for `at_most`.
    """
    splits = [split for name, split in corpus.splits.items() if name in _SEEN]
    splits += [split for split in more if split.name not in corpus.splits]
    return choose(teacher.tokenizer, lambda: (teacher.tokenize(split.texts()) for split in splits), settings)


def choose(tokenizer: Any, seen: Callable[[], Iterable[Tokens]], settings: StudentRecipe) -> Vocabulary:
    """The vocabulary that a recipe asks for; `seen` gives the texts as the tokenizer reads them."""
    if settings.vocabulary == "keep":
        return keep(tokenizer)
    if settings.vocabulary_size == "auto":
        return trim(tokenizer, seen(), at_least=_AUTO)
    return trim(tokenizer, seen(), at_least=settings.vocabulary_size, at_most=settings.vocabulary_size)


def trim(tokenizer: Any, seen: Iterable[Tokens], *, at_least: int = 0, at_most: int | None = None) -> Vocabulary:
    """A tokenizer with all specials, the tokens that occur in some texts, and single characters.

    - `at_least`: when fewer occur, the language's most common tokens fill up: new texts hold words that these do not,
      and the teacher's embeddings know them. Trained vocabularies list common tokens first.
    - `at_most`: when more occur, the rarest are dropped, and their words fall apart; of single characters only those
      that occur and ASCII's stay (of BPE tokenizers all: they are bytes as a rule). A few more than `at_most` remain
      where tokens are needed to put others together.

    WordPiece, BPE and Unigram tokenizers are understood; any other is kept whole. The original is not changed.
    """
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    trimmer = _TRIMMERS.get(description["model"].get("type", _guess_type(description["model"])))
    if trimmer is None:
        return keep(tokenizer)
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    for tokens in seen:
        counts += np.bincount(tokens.flat, minlength=len(tokenizer))
    common = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    special = {int(token["id"]) for token in description["added_tokens"]} | set(tokenizer.all_special_ids)
    prefix = description["model"].get("continuing_subword_prefix") or ""
    letters = _letters(tokenizer, None if at_most is None else common, prefix)
    if at_most is not None:
        common = [index for index in common if index not in special | letters]
        common = common[: max(at_most - len(special | letters), 0)]
    used = set(common) | special | letters
    used.update(_most_common(tokenizer, used, at_least))
    kept = sorted(trimmer(description["model"], used))
    place = {old: new for new, old in enumerate(kept)}
    _renumber(description, place)
    return Vocabulary(_rebuild(tokenizer, description), tuple(kept))


def _letters(tokenizer: Any, occurring: list[int] | None, prefix: str) -> set[int]:
    """Tokens of one character: all, or those out of which some tokens and all of ASCII can be written."""
    single = {
        index: bare for token, index in tokenizer.get_vocab().items() if len(bare := token.removeprefix(prefix)) == 1
    }
    if occurring is None:
        return set(single)
    written = {chr(code) for code in range(128)}.union(*tokenizer.convert_ids_to_tokens(occurring))
    return {index for index, letter in single.items() if letter in written}


def _most_common(tokenizer: Any, used: set[int], at_least: int) -> list[int]:
    """Ids that fill a set up, in the order of the vocabulary, without the placeholders of BERT."""
    missing = max(at_least - len(used), 0)
    candidates = (index for index in range(len(tokenizer)) if index not in used)
    real = (i for i in candidates if not str(tokenizer.convert_ids_to_tokens(i)).startswith("[unused"))
    return list(itertools.islice(real, missing))


def keep(tokenizer: Any) -> Vocabulary:
    """The whole vocabulary."""
    return Vocabulary(tokenizer, tuple(range(len(tokenizer))))


def _word_piece(model: dict[str, Any], used: set[int]) -> set[int]:
    model["vocab"] = {token: index for token, index in model["vocab"].items() if index in used}
    return used


def _bpe(model: dict[str, Any], used: set[int]) -> set[int]:
    """A merge stays when its result is kept; its two parts must then stay too, down to single characters."""
    vocabulary: dict[str, int] = model["vocab"]
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    wanted = {token for token, index in vocabulary.items() if index in used or len(token) == 1}
    wanted |= {token for token in vocabulary if _is_byte(token)}
    kept_merges = []
    for left, right in reversed(merges):
        if left + right in wanted:
            wanted |= {left, right}
            kept_merges.append([left, right])
    model["merges"] = kept_merges[::-1]
    model["vocab"] = {token: index for token, index in vocabulary.items() if token in wanted}
    return set(model["vocab"].values()) | used


def _unigram(model: dict[str, Any], used: set[int]) -> set[int]:
    pieces: list[tuple[str, float]] = model["vocab"]
    bytes_of_others = {index for index, (token, _) in enumerate(pieces) if _is_byte(token)}
    kept = used | bytes_of_others | ({int(model["unk_id"])} if model.get("unk_id") is not None else set())
    model["unigram_kept"] = sorted(index for index in kept if index < len(pieces))
    return kept


_TRIMMERS = {"WordPiece": _word_piece, "BPE": _bpe, "Unigram": _unigram}


def _guess_type(model: dict[str, Any]) -> str:
    """Older files leave the type out."""
    if "merges" in model:
        return "BPE"
    return "Unigram" if isinstance(model.get("vocab"), list) else "WordPiece"


def _is_byte(token: str) -> bool:
    """Byte-fallback tokens such as <0x0A>."""
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _renumber(description: dict[str, Any], place: dict[int, int]) -> None:
    """Give every token its new id, wherever a tokenizer file mentions one."""
    model = description["model"]
    if "unigram_kept" in model:
        model["vocab"] = [model["vocab"][index] for index in model.pop("unigram_kept")]
        if model.get("unk_id") is not None:
            model["unk_id"] = place[model["unk_id"]]
    else:
        model["vocab"] = {token: place[index] for token, index in model["vocab"].items()}
    for token in description["added_tokens"]:
        token["id"] = place[token["id"]]
    for processor in _processors(description.get("post_processor")):
        for special in (processor.get("special_tokens") or {}).values():
            special["ids"] = [place[index] for index in special["ids"]]
        for name in ("sep", "cls"):
            if name in processor:
                processor[name] = [processor[name][0], place[processor[name][1]]]
    description["padding"] = description["truncation"] = None


def _processors(processor: dict[str, Any] | None) -> list[dict[str, Any]]:
    if processor is None:
        return []
    return [processor, *processor.get("processors", [])]


# What `save_pretrained` may write beside tokenizer.json and `from_pretrained` might prefer to it.
_OTHER_VOCABULARIES = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


def _rebuild(tokenizer: Any, description: dict[str, Any]) -> Any:
    """The same tokenizer class and settings around another tokenizer.json."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        for other in _OTHER_VOCABULARIES:
            (folder / other).unlink(missing_ok=True)
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        settings.pop("added_tokens_decoder", None)
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        (folder / "tokenizer.json").write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
