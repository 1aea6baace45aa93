"""How to use what a run made: three snippets to copy, and what the run is called."""

from __future__ import annotations

import shlex
from pathlib import PurePath

import yaml

from tutelage.artifacts.measurements import Measurements


def run_name(measurements: Measurements) -> str:
    """The name of the run's folder."""
    return PurePath(str(measurements.recipe.get("output") or "")).name or measurements.task


def bundle_path(measurements: Measurements) -> str:
    """Where the bundle is, as the recipe wrote it."""
    output = measurements.recipe.get("output")
    return (PurePath(str(output)) / "bundle").as_posix() if output else "bundle"


def snippets(measurements: Measurements, *, bundle: str | None = None) -> list[tuple[str, str]]:
    """(title, code) for predicting from the shell, serving, and Python."""
    path = bundle or bundle_path(measurements)
    quoted = shlex.quote(path)
    python = f'import tutelage\n\nbundle = tutelage.load({path!r})\nbundle.predict(["An example text"])'
    serve = (
        f"tutelage serve {quoted} --port 8000\n"
        "curl http://127.0.0.1:8000/v1/predict -H 'Content-Type: application/json' "
        '-d \'{"inputs": ["An example text"]}\''
    )
    return [
        ("Predict a file", f"tutelage predict {quoted} file.csv -o out.jsonl"),
        ("Serve it", serve),
        ("In Python, without torch", python),
    ]


def recipe_text(measurements: Measurements) -> str:
    """The resolved recipe as YAML; empty when it is not told."""
    if not measurements.recipe:
        return ""
    return str(yaml.safe_dump(measurements.recipe, sort_keys=False, allow_unicode=True))
