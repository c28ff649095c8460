"""Settings of a run are one checked value, which JSON can hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from napari_incontext_seg.errors import InputError
from napari_incontext_seg.session.settings import RunSettings


@pytest.mark.parametrize(
    "settings",
    [
        RunSettings(),
        RunSettings("guess", "cpu", "instance", "best", "none", 3, 2, "similar", 60.0, None, "onward", None, "z"),
        RunSettings(key=Path("cells.key"), where="range", span=(3, 9)),
        RunSettings(direction="meet", names=True),
    ],
)
def test_json_gives_back_the_same_settings(settings: RunSettings) -> None:
    assert RunSettings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"quality": "superb"}, "fast, balanced, best"),
        ({"where": "up"}, "until_verified"),
        ({"memory": -1}, "0 or more"),
        ({"num_examples": 0}, "at least one example"),
        ({"tune_seconds": 0}, "above 0"),
        ({"tune_seconds": 5, "key": "a.key"}, "not both"),
        ({"where": "range"}, "where='range'"),
        ({"span": [0, 3]}, "where='range'"),
        ({"memory": "many"}, "does not fit"),
        ({"memory": 1.5}, "does not fit"),
        ({"memory": True}, "does not fit"),
        ({"model": 5}, "does not fit"),
        ({"where": "range", "span": 5}, "does not fit"),
        ({"where": "range", "span": ["a", 3]}, "does not fit"),
        ({"where": "range", "span": [1]}, "first slice"),
        ({"colour": "red"}, "no setting colour"),
        ({"direction": "onward"}, "both, meet"),
        ({"names": 1}, "does not fit"),
        ({"names": True, "kind": "instance"}, "kind semantic"),
    ],
)
def test_what_does_not_fit_is_told(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunSettings.from_dict(wrong)
