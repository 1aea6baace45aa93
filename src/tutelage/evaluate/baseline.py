"""What a linear model on word and character n-grams can do: the bar any Transformer must clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Corpus


@dataclass(frozen=True)
class Baseline:
    """A fitted TF-IDF + linear model."""

    features: Any
    estimator: Any
    corpus: Corpus

    @classmethod
    def fit(cls, corpus: Corpus, *, seed: int) -> Baseline:
        """Fit on the training split: words and word pairs, or characters where words are not spaced."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = corpus["train"].texts()
        spaced = np.mean([text.count(" ") + 1 for text in texts[:1000]]) > 3
        features = TfidfVectorizer(
            sublinear_tf=True,
            min_df=2 if len(texts) > 200 else 1,
            **({"ngram_range": (1, 2)} if spaced else {"analyzer": "char", "ngram_range": (1, 3)}),
            token_pattern=r"(?u)\b\w+\b",
        )
        estimator = corpus.task.baseline(seed)
        estimator.fit(features.fit_transform(texts), corpus["train"].targets)
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
