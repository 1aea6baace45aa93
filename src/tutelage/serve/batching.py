"""One worker thread answers the texts of many requests together, up to a budget of tokens.

Nothing waits for a batch to fill: while the worker is busy requests gather, and it takes what has gathered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.bundle.predict import Bundle
from tutelage.serve.limits import ServeLimits
from tutelage.serve.metrics import Metrics
from tutelage.text import tokens_about

FAILED: dict[str, Any] = {"error": {"code": "prediction_failed", "message": "the model could not answer this text"}}
_SPECIAL_TOKENS = 2
_log = logging.getLogger(__name__)


class QueueFull(Exception):  # noqa: N818 - a state of the queue, answered with 429
    """As many requests wait as may wait."""


@dataclass(eq=False)
class _Job:
    texts: list[str]
    cost: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[dict[str, Any]]]


class Batcher:
    """A queue of requests in front of a bundle."""

    def __init__(self, bundle: Bundle, limits: ServeLimits, metrics: Metrics) -> None:
        self._bundle, self._limits, self._metrics = bundle, limits, metrics
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._busy_since: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the worker, unless it runs."""
        if self._thread is None or not self._thread.is_alive():
            self._stopping = False
            # A daemon: a call of the graph that never returns must not keep the process alive.
            self._thread = threading.Thread(target=self._work, name="tutelage-worker", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the worker finish the batch at hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=1)

    @property
    def healthy(self) -> bool:
        """Whether the worker runs and has not been at one batch for longer than anyone waits."""
        since = self._busy_since
        stuck = since is not None and time.monotonic() - since > self._limits.deadline_seconds
        return self._thread is not None and self._thread.is_alive() and not stuck

    @property
    def full(self) -> bool:
        """Whether a further request would be refused, unless some of those waiting have given up."""
        return len(self._waiting) >= self._limits.max_queue

    @property
    def waiting(self) -> int:
        """Requests not yet taken by the worker."""
        return len(self._waiting)

    async def answer(self, texts: list[str]) -> list[dict[str, Any]]:
        """One record a text, in order, `FAILED` where the model failed.

        Raises `QueueFull` at once, `TimeoutError` at the deadline.
        """
        loop = asyncio.get_running_loop()
        job = _Job(texts, self._cost(texts), loop, loop.create_future())
        with self._changed:
            if self.full:
                self._waiting = deque(other for other in self._waiting if not other.future.done())
            if self.full:
                raise QueueFull
            self._waiting.append(job)
            self._changed.notify()
        self.start()
        async with asyncio.timeout(self._limits.deadline_seconds):
            return await job.future

    def _cost(self, texts: Sequence[str]) -> int:
        limits = self._bundle.limits
        most = limits.max_tokens if limits.long_text == "truncate" else limits.max_characters
        # Only decides how many requests share a batch: the graph's own calls count exactly.
        return sum(min(tokens_about(text) + _SPECIAL_TOKENS, most) for text in texts)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                jobs = self._take()
            self._busy_since = time.monotonic()
            try:
                self._run(jobs)
            except BaseException as error:  # the worker outlives whatever one batch does to it
                _log.error("a batch failed: %s", type(error).__name__)
                for job in jobs:
                    _deliver(job, [FAILED] * len(job.texts))
            finally:
                self._busy_since = None

    def _take(self) -> list[_Job]:
        jobs: list[_Job] = []
        left = self._limits.batch_tokens
        while self._waiting and (not jobs or self._waiting[0].cost <= left):
            job = self._waiting.popleft()
            # Whoever gave up waiting is not worth any work.
            if not job.future.done():
                jobs.append(job)
                left -= job.cost
        return jobs

    def _run(self, jobs: list[_Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        if not texts:
            return
        answers = self._answers(texts)
        failed = sum(answer is FAILED for answer in answers)
        self._metrics.batch(len(answers) - failed, failed)
        start = 0
        for job in jobs:
            _deliver(job, answers[start : start + len(job.texts)])
            start += len(job.texts)

    def _answers(self, texts: list[str]) -> list[dict[str, Any]]:
        """Halve a batch that fails until what fails stands alone."""
        try:
            outputs = self._bundle.outputs(texts, batch_tokens=self._limits.batch_tokens)
            sound = np.asarray(np.isfinite(outputs).all(axis=1))
            task = self._bundle.task
            records = iter(task.decode(task.predict(outputs[sound])))
            return [next(records) if fine else FAILED for fine in sound.tolist()]
        except Exception as error:
            if len(texts) == 1:
                _log.error("a text failed: %s", type(error).__name__)
                return [FAILED]
            half = len(texts) // 2
            return self._answers(texts[:half]) + self._answers(texts[half:])


def _deliver(job: _Job, answers: list[dict[str, Any]]) -> None:
    def settle() -> None:
        if not job.future.done():
            job.future.set_result(answers)

    # The loop may have closed while the graph ran: nobody is left to answer.
    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(settle)
