"""Keep the tokens that the texts and the language need, with a tokenizer that matches.

What is dropped is never lost to `[UNK]`: all single characters stay, so an unseen word falls apart into smaller pieces.
Follows the idea of vocabulary trimming (Abdaoui et al. 2020, "Load What You Need", arXiv 2010.05609).
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.tokens import Tokens


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer of `transformers` and the original id behind each of its own, in order."""

    tokenizer: Any
    kept: tuple[int, ...]


def trim(tokenizer: Any, seen: Iterable[Tokens], *, at_least: int = 0) -> Vocabulary:
    """A tokenizer with the tokens that occur in some texts, all specials and all single characters.

    When these are fewer than `at_least`, the language's most common tokens fill up: new texts hold words that these do
    not, and the teacher's embeddings know them. Trained vocabularies list common tokens first.

    WordPiece, BPE and Unigram tokenizers are understood; any other is kept whole. The original is not changed.
    """
    used: set[int] = set()
    for tokens in seen:
        used.update(np.unique(tokens.flat).tolist())
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    trimmer = _TRIMMERS.get(description["model"].get("type", _guess_type(description["model"])))
    if trimmer is None:
        return keep(tokenizer)
    used.update(_most_common(tokenizer, used, at_least))
    special = {int(token["id"]) for token in description["added_tokens"]} | set(tokenizer.all_special_ids)
    kept = sorted(trimmer(description["model"], used | special))
    place = {old: new for new, old in enumerate(kept)}
    _renumber(description, place)
    return Vocabulary(_rebuild(tokenizer, description), tuple(kept))


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
    prefix = model.get("continuing_subword_prefix", "##")
    single = {index for token, index in model["vocab"].items() if len(token.removeprefix(prefix)) == 1}
    kept = used | single
    model["vocab"] = {token: index for token, index in model["vocab"].items() if index in kept}
    return kept


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
    single = {index for index, (token, _) in enumerate(pieces) if len(token) == 1 or _is_byte(token)}
    kept = used | single | ({int(model["unk_id"])} if model.get("unk_id") is not None else set())
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


def unknown_share(tokens: Tokens, unknown: int | None) -> float:
    """Share of the tokens that are unknown."""
    if unknown is None or not len(tokens.flat):
        return 0.0
    flat: NDArray[np.int32] = tokens.flat
    return float((flat == unknown).mean())
