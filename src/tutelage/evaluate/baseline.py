"""What a linear model on word and character n-grams can do: the bar any Transformer must clear."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Corpus

# Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese: words are not spaced.
_UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_SAMPLE = 1000
_MANY = 200
# Of n-grams times outputs: while a model of so many is fitted, its solver holds some 2 GB.
_MOST_WEIGHTS = 10_000_000


@dataclass(frozen=True)
class Baseline:
    """A fitted TF-IDF + linear model."""

    features: Any
    estimator: Any
    corpus: Corpus

    @classmethod
    def fit(cls, corpus: Corpus, *, seed: int) -> Baseline:
        """Fit on the training split: words and word pairs, or characters where words are not spaced."""
        train = corpus["train"]
        once = train.epoch(0)
        features, rows = _features(train.texts(once), corpus.task.width)
        estimator = corpus.task.baseline(seed)
        estimator.fit(rows, train.targets[once])
        return cls(features, estimator, corpus)

    def predictions(self, texts: list[str]) -> NDArray[np.float64]:
        """Predictions as `Task.predict` gives them."""
        outputs = self.corpus.task.baseline_outputs(self.estimator, self.features.transform(texts))
        return self.corpus.task.predict(outputs)

    def describe(self) -> str:
        """One line."""
        return f"{type(self.estimator).__name__}, {len(self.features.vocabulary_):,} n-grams"

    @property
    def parameters(self) -> int:
        """Weights of the linear model."""
        return int(np.size(self.estimator.coef_) + np.size(self.estimator.intercept_))

    @property
    def size(self) -> int:
        """Bytes of the weights and of the vocabulary with its inverse document frequencies."""
        words = sum(len(word.encode()) + 8 for word in self.features.vocabulary_)
        return int(self.estimator.coef_.nbytes + self.features.idf_.nbytes + words)


def _features(texts: list[str], outputs: int) -> tuple[Any, Any]:
    """A fitted vectorizer, and its sparse rows (N, n-grams), of which many outputs leave the most frequent ones."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}
    characters = {"analyzer": "char", "ngram_range": (1, 3)}
    often = 2 if len(texts) > _MANY else 1
    most = {"max_features": _MOST_WEIGHTS // outputs}
    for settings in [characters] if _unspaced(texts) else [words, characters]:
        features = TfidfVectorizer(sublinear_tf=True, min_df=often, **most, **settings)
        try:
            return features, features.fit_transform(texts)
        except ValueError:  # nothing is left: emoji hold no word, and texts that share nothing none that occurs twice
            continue
    features = TfidfVectorizer(sublinear_tf=True, **most, **characters)
    return features, features.fit_transform(texts)


def _unspaced(texts: list[str]) -> bool:
    sample = "".join("".join(texts[:_SAMPLE]).split())
    return len(_UNSPACED.findall(sample)) > len(sample) / 3
