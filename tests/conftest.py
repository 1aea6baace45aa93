"""What every test may use: a tiny real model, and small real data."""

from __future__ import annotations

import gc
import os

# Before any library looks: no network, and no thread pools that fight over two cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Two workers of two threads each wait for each other more than they work: ten times slower on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tiny_models

if TYPE_CHECKING:
    from tutelage.evaluate.measure import Player
    from tutelage.progress import Logged


@pytest.fixture(scope="module", autouse=True)
def nothing_old_is_collected() -> None:
    """Every training ends with a collection of garbage: it need not go through all that libraries hold, each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def the_disk_is_not_waited_for() -> Iterator[None]:
    """Nothing here must outlast a power cut. That files are flushed, and in which order, tests/test_storage.py sees."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def only_what_is_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose proof leaves out two costly comparisons: the teacher as ONNX, and a process a model for its memory.

    The shared run of tests/run makes both; what else is tested of a run needs neither.
    """
    from tutelage import proof

    def teacher(cast: proof.Cast, drafts: Path, progress: Logged) -> Player:
        return proof._network("Teacher", cast.workshop.teacher, cast.folder.teacher)

    monkeypatch.setattr(proof, "_teacher", teacher)
    monkeypatch.setattr("tutelage.evaluate.memory._measure", lambda *_, **__: None)


@pytest.fixture(scope="session")
def reviews() -> Path:
    """A CSV with columns text, label, rating."""
    return tiny_models.REVIEWS


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT encoder."""
    return tiny_models.write_bert(tmp_path_factory.mktemp("models") / "bert")
