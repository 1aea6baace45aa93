"""A graph made ready to run: the one place, so that what is measured is what is deployed. Free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

_ERRORS_ONLY = 3
# A sum and a layer norm are faster apart (docs/decisions/0014).
_SLOWER = ["SkipLayerNormFusion"]


def start(model: str | bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU, of a file's path or its content; 0 threads are one for each core.

    Raises whatever `onnxruntime` raises: its exceptions share no public base.
    """
    import onnxruntime as ort

    ort.set_default_logger_severity(_ERRORS_ONLY)
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER)
