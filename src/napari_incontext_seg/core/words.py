"""Numbers in words, for messages and for what Python shows of the nouns."""

from __future__ import annotations

from collections.abc import Sequence

MOST_IDS = 8  # that are listed


def counted(number: int, what: str) -> str:
    """``(2, "label")`` -> ``"2 labels"``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def sized(shape: Sequence[int]) -> str:
    """``(256, 512)`` -> ``"256 x 512"``."""
    return " x ".join(str(s) for s in shape)


def listed(ids: Sequence[int]) -> str:
    """``(0, 1, 5)`` -> ``"0, 1, 5"``; of many ids the first, and how many there are in all."""
    shown = ", ".join(str(i) for i in ids[:MOST_IDS])
    return shown if len(ids) <= MOST_IDS else f"{shown}, ... ({len(ids)} in all)"
