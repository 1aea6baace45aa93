"""A tiny model of natural language inference that knows which words are kind and which are not, and texts of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tiny_models

KIND = {"positive": ["good", "great"], "negative": ["bad", "not"]}
OTHER = ["film", "movie", "story", "the", "is", "and", "of", "it", "a", "to", "in", "that"]
HYPOTHESIS = "This text is {}."
WORDS = {"positive": "good", "negative": "bad"}


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts, no two the same, and their classes."""
    random = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        label = ("negative", "positive")[len(found) % 2]
        words = [*random.choice(OTHER, 5), random.choice(KIND[label])]
        found.setdefault(" ".join(random.permutation(words).tolist()), label)
    return list(found.items())


def write(folder: Path, rows: list[tuple[str, str]], *, labelled: bool) -> Path:
    """A CSV; without labels it has no such column."""
    with folder.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"] if labelled else ["text"])
        writer.writerows(rows if labelled else [[text] for text, _ in rows])
    return folder


def write_model(folder: Path) -> Path:
    """Trained on pairs of a text and what is said of it."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer: Any = tiny_models.word_piece()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label={0: "contradiction", 1: "neutral", 2: "entailment"},
        label2id={"contradiction": 0, "neutral": 1, "entailment": 2},
    )
    model = BertForSequenceClassification(config)
    given = texts(400, 1)
    pairs = [(text, said, 2 if said == label else 0) for text, label in given for said in WORDS]
    premises, hypotheses = [text for text, *_ in pairs], [HYPOTHESIS.format(WORDS[said]) for _, said, _ in pairs]
    read = tokenizer(premises, hypotheses, padding=True, return_tensors="pt")
    labels = torch.tensor([answer for *_, answer in pairs])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    order = np.random.default_rng(0)
    average = 1.0
    for _ in range(600):
        rows = torch.from_numpy(order.choice(len(pairs), 64, replace=False))
        loss = model(**{key: value[rows] for key, value in read.items()}, labels=labels[rows]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        average = 0.9 * average + 0.1 * loss.item()
        if average < 0.05:
            break
    assert average < 0.2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
