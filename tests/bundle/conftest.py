from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_bundle import write_tiny
from tutelage.bundle.predict import Bundle, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "bundle")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(write_tiny(tmp_path_factory.mktemp("tiny") / "bundle"), threads=1)
