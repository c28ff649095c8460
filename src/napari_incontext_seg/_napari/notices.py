"""What goes wrong is told as a napari notification, in words; details for developers go to the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error, show_info, show_warning

from ..errors import InContextError

_log = logging.getLogger("napari_incontext_seg")


def tell(message: str) -> None:
    """Say that something was done."""
    show_info(message)


def tell_warning(message: str) -> None:
    """Say that something may not be as it should."""
    show_warning(_sentence(message))


def tell_error(error: BaseException, doing: str) -> None:
    """Say what went wrong, and how it can be put right.

    Parameters
    ----------
    error
        Ours speak for themselves; of others, what they say is told, and where it happened is logged.
    doing
        What was being done, such as ``"running the model"``.
    """
    if isinstance(error, InContextError):
        show_warning(_sentence(str(error)))
        return
    _log.error("while %s", doing, exc_info=error)
    if isinstance(error, MemoryError):
        show_error(f"The computer ran out of memory while {doing}. Close other images, or choose a lower quality.")
        return
    show_error(
        f"Something unexpected went wrong while {doing}; what was finished is kept. "
        f"Please report it with this line: {type(error).__name__}: {error}"
    )


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Tell errors of the block instead of raising them."""
    try:
        yield
    except Exception as error:  # the border to the toolkit: nothing may pass as a bare traceback
        tell_error(error, doing)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
