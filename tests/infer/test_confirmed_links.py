"""What a person has said holds, whatever the frames look like: random boxes, random names, random links."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.linking import link

IDS = [1, 2, 3, 4, 5, 2**32 - 1]


def boxes(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """A frame of up to five boxes, which may hide each other."""
    labels = np.zeros(shape, np.uint32)
    for _ in range(rng.integers(0, 6)):
        corner = [int(rng.integers(0, n)) for n in shape]
        labels[tuple(slice(c, c + int(rng.integers(1, 8))) for c in corner)] = rng.choice(IDS)
    return labels


def ids_of(labels: NDArray[np.uint32]) -> list[int]:
    return [int(i) for i in np.unique(labels) if i]


def random_links(rng: np.random.Generator, frames: list[NDArray[np.uint32]]) -> list[tuple[int, int, int, int]]:
    links = []
    for _ in range(rng.integers(0, 4)):
        t, u = sorted(int(k) for k in rng.choice(len(frames), 2, replace=False))
        if ids_of(frames[t]) and ids_of(frames[u]):
            links.append((t, int(rng.choice(ids_of(frames[t]))), u, int(rng.choice(ids_of(frames[u])))))
    return links


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(22, 17), (3, 9, 14), (1, 1)]), st.integers(2, 6), st.integers(0, 2))
def test_names_and_confirmed_links_hold(seed: int, shape: tuple[int, ...], count: int, max_gap: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [boxes(rng, shape) for _ in range(count)]
    named = {int(t): ids_of(frames[t]) for t in rng.choice(count, rng.integers(0, count), replace=False)}
    confirmed = random_links(rng, frames)
    settings: dict[str, Any] = {"named": named, "confirmed": confirmed, "max_gap": max_gap}
    try:
        linking = link(frames, part=frames.__setitem__, **settings)
    except InputError:
        assert confirmed  # names alone never contradict each other
        return
    for t, labels in enumerate(frames):
        out = linking.apply(labels, t)
        assert t not in named or (out == labels).all()
        assert len(ids_of(out)) == len(ids_of(labels))
    track = [
        dict(zip(o.ids.tolist(), k.tolist(), strict=True)) for o, k in zip(linking.objects, linking.tracks, strict=True)
    ]
    ids = {(t, i): {(u, j) for s, h, u, j in confirmed if (s, h) == (t, i)} for t, i, _, _ in confirmed}
    for t, i, u, j in confirmed:
        others = {j for _, j in ids[t, i]}
        if len(others) == 1:
            assert track[t][i] == track[u][j]
        elif i not in others and len({track[v][k] for v, k in ids[t, i]}) > 1:
            assert linking.parents[track[u][j]] == (track[t][i],)
        else:  # it may have gone on until it divided, or other links say that all of it is one object
            assert track[t][i] in (track[u][j], *linking.parents.get(track[u][j], ()))
