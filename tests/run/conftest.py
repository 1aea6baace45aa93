from __future__ import annotations

from pathlib import Path

import pytest

from tiny_recipe import recipe
from tutelage import pipeline


@pytest.fixture(scope="session")
def finished(reviews: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    """One whole run, shared by the tests that only look at it."""
    return pipeline.run(recipe(reviews, bert, tmp_path_factory.mktemp("runs") / "reviews"))


@pytest.fixture(autouse=True)
def lean(only_what_is_deployed: None) -> None:
    """The shared run compares everything; those that tests make for themselves need not."""
