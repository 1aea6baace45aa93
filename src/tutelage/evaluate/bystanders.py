"""What other programs used of the machine while something was timed.

Two contenders in turns share what disturbs them, yet not in equal parts: one that waits for memory and one that waits
for a core suffer differently, and a ratio of their speeds is then wrong without looking so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# Processor time is counted in ticks of 10 ms: of half a second, a few hundredths of two cores.
_SHORTEST = 0.5


@dataclass(frozen=True)
class Reading:
    """Counters at one moment, in seconds."""

    clock: float
    busy: float
    """Processor time that the whole machine has used, over all cores."""
    own: float
    """What of it was this process's own, and its children's."""
    cores: int


Read = Callable[[], Reading | None]


def now() -> Reading | None:
    """The counters of this machine; None where they cannot be had.

    In some containers they are those of the host: what its other guests use counts as well, also on cores that this
    process may not use. That is told all the same: they share caches, memory and the clock of the processor.
    """
    try:
        import psutil

        times = psutil.cpu_times()._asdict()
        # A guest's time is in `user` already. What a hypervisor takes away (`steal`) is missing like any other.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for kind, seconds in times.items() if kind not in idle)
        return Reading(time.monotonic(), busy, _own(), psutil.cpu_count() or 1)
    except Exception:  # whatever a platform lacks: no run fails for want of a remark
        return None


def _own() -> float:
    """Seconds of this process, of its children that have ended, and of those that have not."""
    import psutil

    me = psutil.Process()
    times = me.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in me.children(recursive=True):
        try:
            used = child.cpu_times()
        except psutil.NoSuchProcess:  # it ended just now
            continue
        seconds += used.user + used.system + used.children_user + used.children_system
    return float(seconds)


def share(before: Reading | None, after: Reading | None) -> float | None:
    """What others used of all cores between two readings, from 0 to 1.

    None where it is not known, or where too little time passed to tell.
    """
    if before is None or after is None:
        return None
    elapsed = after.clock - before.clock
    if elapsed < _SHORTEST:
        return None
    others = (after.busy - before.busy) - (after.own - before.own)
    # The counters are not read at the same instant: a little less than nothing is nothing.
    return min(max(others / (elapsed * after.cores), 0.0), 1.0)
