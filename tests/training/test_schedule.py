from __future__ import annotations

import pytest

from tutelage.training.schedule import warmup_then_linear


@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_it_rises_to_one_then_falls_and_no_step_is_wasted(total: int, warmup: float) -> None:
    factors = [warmup_then_linear(step, total=total, warmup=warmup) for step in range(total)]
    peak = factors.index(max(factors))
    assert factors[peak] == pytest.approx(1.0)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert min(factors) > 0
