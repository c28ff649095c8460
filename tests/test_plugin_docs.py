"""The page about the plugin says what the plugin does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "plugin.md").read_text(encoding="utf-8")


def test_every_key_is_listed_and_no_other() -> None:
    pytest.importorskip("qtpy")
    from napari_incontext_seg._napari.keys import KEYS

    listed = re.findall(r"^\| (Shift\+.) \|", PAGE, re.MULTILINE)
    assert listed == [key.sequence.replace("-", "+") for key in KEYS]


def test_every_wish_of_users_has_a_row_that_says_where_it_is_answered() -> None:
    table = PAGE.partition("| what users ask |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == 13
    for row in table:
        wish, asked, answer = (cell.strip() for cell in row.strip("|").split("|"))
        assert wish
        assert answer
        assert "#" in asked


@pytest.mark.parametrize("page", ["plugin.md", "tutorial.md", "../README.md"])
def test_every_picture_is_there(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text):
        assert (DOCS / page).parent.joinpath(name).is_file(), name
