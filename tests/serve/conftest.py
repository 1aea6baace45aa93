from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_bundle import write_tiny
from tutelage.bundle.limits import Limits
from tutelage.bundle.predict import Bundle, load


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("served") / "bundle", limits=Limits(max_characters=2_000))


@pytest.fixture
def served(served_folder: Path) -> Bundle:
    return load(served_folder, threads=1)
