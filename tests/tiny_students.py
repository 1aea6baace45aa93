"""What students of one layer are tested with: texts, a teacher, embeddings in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from tutelage.artifacts.network import Network
from tutelage.compress import codes
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.student import initialise
from tutelage.tasks import TextClassification
from tutelage.teacher import load

TASK = TextClassification(("negative", "positive"))
TEXTS = [row["text"] for row in tiny_models.reviews()][:40]


def teacher_of(folder: Path) -> Network:
    torch.manual_seed(0)
    return load.load(str(folder), TASK, Reading(48))[0]


def coded(student: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    """The same with embeddings that are put together from pieces, all but fifty."""
    monkeypatch.setattr(codes, "_WHOLE", 50)
    weight = student.model.get_input_embeddings().weight
    counts = np.bincount(student.tokenize(TEXTS).flat, minlength=len(weight))
    return initialise.code_embeddings(student, codes.of(weight, counts, seed=0, progress=Silent()))
