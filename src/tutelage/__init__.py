"""Turn a large Transformer that does your task into the smallest, fastest student that still does it.

    import tutelage
    run = tutelage.run("recipe.yaml")
    bundle = tutelage.load("runs/reviews/bundle")
    bundle.predict(["a fine film"])

Importing the package is cheap: what an attribute needs is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutelage.version import __version__

if TYPE_CHECKING:
    from tutelage.bundle.predict import Bundle, load
    from tutelage.pipeline import Run, run
    from tutelage.pretraining import Pretrained, pretrain

__all__ = ["Bundle", "Pretrained", "Run", "__version__", "load", "pretrain", "run"]

_HOMES = {
    "Bundle": "bundle.predict",
    "load": "bundle.predict",
    "Pretrained": "pretraining",
    "pretrain": "pretraining",
    "Run": "pipeline",
    "run": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tutelage' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"tutelage.{_HOMES[name]}"), name)
