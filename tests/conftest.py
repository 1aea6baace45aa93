"""What every test may use: a tiny real model, and small real data."""

from __future__ import annotations

import os

# Before any library looks: no network, and no thread pools that fight over two cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest

import tiny_models


@pytest.fixture(scope="session")
def reviews() -> Path:
    """A CSV with columns text, label, rating."""
    return tiny_models.REVIEWS


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT encoder."""
    return tiny_models.write_bert(tmp_path_factory.mktemp("models") / "bert")
