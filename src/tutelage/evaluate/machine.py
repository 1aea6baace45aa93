"""What was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# For whole numbers or, without any, at all; and for half precision. The best first.
_INSTRUCTIONS = (
    ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2"),
    ("amx_bf16", "avx512_bf16"),
)
_TOKENIZING = "RAYON_NUM_THREADS"
_LIBRARIES = ("torch", "transformers", "onnxruntime", "tokenizers", "numpy", "scikit-learn")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def too_many(threads: int | None) -> str:
    """What is to be said of more threads than cores; empty otherwise."""
    if threads is None or threads <= cores():
        return ""
    return f"`threads` is {threads}, and there are {cores()} cores: more threads than cores only wait for each other"


@contextmanager
def working_on(threads: int | None) -> Iterator[None]:
    """Let torch work on so many threads, or as many as it would; afterwards on as many as before.

    Tokenizers too, in a process that has not used any yet, unless `RAYON_NUM_THREADS` says otherwise already.
    """
    import torch

    before, bound = torch.get_num_threads(), threads is not None and _TOKENIZING not in os.environ
    torch.set_num_threads(threads or before)
    if bound:
        os.environ[_TOKENIZING] = str(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if bound:
            os.environ.pop(_TOKENIZING, None)


def describe(*, threads: int) -> dict[str, Any]:
    """Processor, memory, system and the versions that matter."""
    import psutil

    return {
        "cpu": _cpu(),
        "cores": cores(),
        "threads": threads,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def _cpu() -> str:
    """The processor's name and the widest instructions it has, which decide what int8 and bfloat16 are worth."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    lines = dict(line.split("\t", 1) for line in text.split("\n\n")[0].splitlines() if "\t" in line)
    fields = {key.strip(): value.strip(": \t") for key, value in lines.items()}
    flags = fields.get("flags", "").split()
    found = [next((name for name in names if name in flags), "") for names in _INSTRUCTIONS]
    wide = ", ".join(name for name in found if name)
    name = fields.get("model name", platform.processor() or "unknown")
    return f"{name} ({wide})" if wide else name
