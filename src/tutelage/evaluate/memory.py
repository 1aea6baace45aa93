"""Peak memory of a model in a process of its own, and how long that process takes to its first answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tutelage.artifacts.network import unknown_part
from tutelage.evaluate.speed import spread

_TEXTS = 64
_SECONDS = 300

# The child imports only what its model needs, so what it weighs is what a deployment weighs. One text at a time,
# whoever answers: batches would weigh too.
_BUNDLE = """
import sys, json, time, resource
given = json.load(sys.stdin)
import tutelage
bundle = tutelage.load(given["path"], threads=given["threads"])
bundle.predict(given["texts"][:1])
first = time.time() - given["began"]
for text in given["texts"]:
    bundle.predict([text])
"""
_NETWORK = """
import sys, json, time, resource
given = json.load(sys.stdin)
import torch
from transformers import AutoModelForSequenceClassification as Model, AutoTokenizer
torch.set_num_threads(given["threads"])
LOAD
tokenizer, model = AutoTokenizer.from_pretrained(given["path"]), load(given["path"]).eval()
def answer(texts):
    with torch.inference_mode():
        for text in texts:
            model(**tokenizer(text, truncation=True, max_length=given["max_tokens"], return_tensors="pt"))
answer(given["texts"][:1])
first = time.time() - given["began"]
answer(given["texts"])
"""
_PLAIN = "load = Model.from_pretrained"
_WITH_UNKNOWN_PART = """
from pathlib import Path
from tutelage.artifacts.network import unknown_part
load = lambda path: unknown_part(Path(path)).load(Path(path), Model)
"""
# Linux hands a child its parent's ru_maxrss; only VmHWM (kibibytes) starts anew with the program. macOS has ru_maxrss
# alone, in bytes.
_REPORT = """
def peak_mb():
    try:
        lines = open("/proc/self/status").read().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"peak_mb": peak_mb(), "first": first}))
"""


@dataclass(frozen=True)
class Footprint:
    """Of a fresh process: peak resident memory in MB, and seconds from start to the first answer."""

    peak_mb: float
    first_answer_seconds: float


def of_bundle(path: Path, texts: list[str], *, threads: int) -> Footprint | None:
    """A bundle in a clean interpreter; None where it cannot be measured (no `resource` module)."""
    return _measure(_BUNDLE, path, texts, threads=threads)


def of_network(path: Path, texts: list[str], *, threads: int, max_tokens: int) -> Footprint | None:
    """A network's folder with PyTorch in a clean interpreter."""
    load = _WITH_UNKNOWN_PART if unknown_part(path) else _PLAIN
    return _measure(_NETWORK.replace("LOAD", load), path, texts, threads=threads, max_tokens=max_tokens)


def _measure(script: str, path: Path, texts: list[str], **settings: int) -> Footprint | None:
    # From here on the clock runs, which both processes read: an interpreter has to start, too.
    given = json.dumps({"path": str(path), "texts": spread(texts, _TEXTS), "began": time.time(), **settings})
    try:
        child = subprocess.run(
            [sys.executable, "-c", script + _REPORT],
            input=given,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        figures = json.loads(child.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None
    return Footprint(figures["peak_mb"], figures["first"])
