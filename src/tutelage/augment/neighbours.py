"""Which words mean much the same, by a network's table of input embeddings.

Only words that are one token can be compared, and only such words are found. Letters keep their case: a found word
that the tokenizer knows in small letters is written as the word it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from tutelage.artifacts.network import Network
from tutelage.augment import vocabulary, words
from tutelage.progress import Progress

# As many as are mostly of one meaning, looking at MiniLM's table; below that cosine they are about the same thing only.
_NEAREST, _LEAST = 6, 0.4
_BLOCK = 512


def of_texts(network: Network, texts: Iterable[str], progress: Progress) -> dict[str, tuple[str, ...]]:
    """The nearest words, the nearest first, of every word of some texts that has any."""
    asked = sorted({text[slice(*place)] for text in texts for place in words.spans(text)})
    names = vocabulary.whole_words(network.tokenizer)
    row = {token: number for number, token in enumerate(names)}
    alone = {
        word: row[token]
        for word, token in zip(asked, vocabulary.tokens(network.tokenizer, asked), strict=True)
        if token in row
    }
    table = network.model.get_input_embeddings().weight.detach()[torch.tensor(list(names), dtype=torch.long)]
    table = torch.nn.functional.normalize(table.float().cpu(), dim=1)
    spelled, wanted = list(names.values()), list(alone)
    found = {}
    with progress.bar("Finding words of much the same meaning", len(wanted)) as bar:
        for begin in range(0, len(wanted), _BLOCK):
            block = wanted[begin : begin + _BLOCK]
            # One more for the word itself, and one for its other spellings.
            near = (table[[alone[word] for word in block]] @ table.T).topk(min(_NEAREST + 2, len(table)), dim=1)
            for word, scores, places in zip(block, near.values.tolist(), near.indices.tolist(), strict=True):
                close = [spelled[place] for score, place in zip(scores, places, strict=True) if score >= _LEAST]
                others = [words.spelled_as(word, other) for other in close if other.casefold() != word.casefold()]
                if others:
                    found[word] = tuple(others[:_NEAREST])
            bar.advance(len(block))
    return found
