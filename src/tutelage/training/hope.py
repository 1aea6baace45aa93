"""When a training that must reach a score is given up: successive halving with one rival, the score itself.

After "Hyperband" (Li et al. 2018, arXiv 1603.06560), where what is behind after a part of its time gets no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# What the last epochs, a wide part and the noise of some hundred rows may add to a score of layers alone, as a share
# of what is to be reached. On Amazon a rung that was 8 % below after two epochs gained 4 % in the next two, and even
# cut short it was judged to keep enough: docs/decisions/0012. A wide part alone added up to 3.9 %: 0003 and 0005.
_MARGIN = 0.12


@dataclass(frozen=True)
class Hope:
    """A validation score that is needed in the end, higher is better, above 0."""

    needed: float
    epochs: int
    """That there may be in all."""

    def lost(self, history: Sequence[dict[str, float]]) -> bool:
        """Whether even what the last epoch gained, again in every epoch to come, would leave it far below.

        Two epochs are needed to tell, and after the last there is nothing to give up. Gains mostly shrink, so that a
        straight line is generous; but a score may fall while the learning rate is high, and rise when that falls,
        which is why the margin is wide.
        """
        scores = [record.get("score") for record in history]
        last = scores[-2:]
        if len(last) < 2 or None in last or len(history) >= self.epochs:
            return False
        best = max(score for score in scores if score is not None)
        before, now = (float(score or 0.0) for score in last)
        ahead = best + max(now - before, 0.0) * (self.epochs - len(history))
        return ahead < self.needed * (1 - _MARGIN)
