"""Whatever is given to the program, the answer is a right result or a clear error: a few inputs for every target.

``benchmarks/fuzz.py`` gives 10,000 to the same targets; `docs/security.md` says what is promised.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

import files  # noqa: F401  # enters its targets
import pytest
import values  # noqa: F401
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from registry import TARGETS, judge


@pytest.mark.skipif(sys.platform != "linux", reason="time and memory are bounded by means of Linux")
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_hostile_input_gets_a_result_or_a_clear_error(name: str) -> None:
    @settings(
        max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(seed=st.integers(0, 2**32 - 1))
    def attempt(seed: int) -> None:
        with tempfile.TemporaryDirectory(prefix="incontext-fuzz-", ignore_cleanup_errors=True) as folder:
            outcome = judge(TARGETS[name], Random(seed), Path(folder))
        assert outcome.verdict != "failed", outcome.said

    attempt()
