"""Damage to valid files: what crashes, bad disks and bad will do to bytes, to JSON and to folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

# what stands in the length fields of broken and hostile files
SIZES = (0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 10**12, 2**63 - 1, 2**64 - 1)
# what stands in metadata where something else was expected
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 10**6, 10**12, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "0", "/etc/passwd", "../../escaped", "..", ".", "a/../../escaped", "C:\\escaped", "\x00"),
    *("\ud800", "é" * 300),
    *([], {}, [[]], [None], [0, 0], {"x": 1}, [1] * 1000, ["y", "x"], "uint8", "object", "|O", "<M8[ns]"),
)  # fmt: skip
DEEP = 20_000  # brackets: more than a parser's stack


def damaged(random: Random, content: bytes, times: int | None = None) -> bytes:
    """``content`` after one to four accidents."""
    data = bytearray(content)
    for _ in range(random.randrange(1, 5) if times is None else times):
        _ACCIDENTS[random.randrange(len(_ACCIDENTS))](random, data)
    return bytes(data)


def _place(random: Random, data: bytearray) -> int:
    """Anywhere, but half of the time in the header, where it matters most."""
    end = len(data) if random.randrange(2) else min(len(data), 400)
    return random.randrange(end) if end else 0


def _flip(random: Random, data: bytearray) -> None:
    for _ in range(random.randrange(1, 9)):
        if data:
            data[_place(random, data)] ^= 1 << random.randrange(8)


def _cut(random: Random, data: bytearray) -> None:
    del data[_place(random, data) :]


def _resize(random: Random, data: bytearray) -> None:
    """Write a length where one may stand."""
    width, at = random.choice((1, 2, 4, 8)), _place(random, data)
    number = random.choice(SIZES) % 2 ** (8 * width)
    data[at : at + width] = number.to_bytes(width, random.choice(("little", "big")))


def _splice(random: Random, data: bytearray) -> None:
    start, at = _place(random, data), _place(random, data)
    part = data[start : start + random.randrange(1, 200)]
    data[at : at + len(part)] = part


def _drop(random: Random, data: bytearray) -> None:
    at = _place(random, data)
    del data[at : at + random.randrange(1, 50)]


def _insert(random: Random, data: bytearray) -> None:
    at = _place(random, data)
    data[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 20)))


def _blank(random: Random, data: bytearray) -> None:
    """A block that never reached the disk."""
    at = _place(random, data)
    end = min(len(data), at + random.choice((8, 64, 4096)))
    data[at:end] = bytes(end - at)


_ACCIDENTS = (_flip, _flip, _cut, _resize, _resize, _splice, _drop, _insert, _blank)


def altered(random: Random, value: Any) -> Any:
    """A JSON value in which one thing, somewhere, is another."""
    if isinstance(value, dict) and value and random.randrange(8):
        key = random.choice(sorted(value))
        what = random.randrange(8)
        if what == 0:
            return {k: v for k, v in value.items() if k != key}
        if what == 1:
            return {**value, random.choice(("", "extra", "zarr_format", key.upper())): random.choice(VALUES)}
        return {**value, key: altered(random, value[key])}
    if isinstance(value, list) and value and random.randrange(8):
        at, what = random.randrange(len(value)), random.randrange(8)
        if what == 0:
            return value[:at] + value[at + 1 :]
        if what == 1:
            return [*value, value[at]]
        return [*value[:at], altered(random, value[at]), *value[at + 1 :]]
    return random.choice(VALUES)


def altered_text(random: Random, text: str) -> bytes:
    """JSON with a value altered, or no JSON any more."""
    what = random.randrange(12)
    if what == 0:
        return damaged(random, text.encode())
    if what == 1:
        return random.choice(
            (b"", b"null", b"[]", b"{}", b"\xff\xfe", b"NaN", b"[" * DEEP, b'{"a":' * DEEP, b"9" * 5000)
        )
    value = json.loads(text)
    for _ in range(random.randrange(1, 4)):
        value = altered(random, value)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def damage_folder(random: Random, folder: Path) -> None:
    """Damage the files of a folder: contents, missing files, links that lead out, folders in their place."""
    for _ in range(random.randrange(1, 4)):
        files = sorted(f for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
        if not files:
            return
        texts = [f for f in files if f.suffix in (".json", ".jsonl") or f.name in (".zattrs", ".zarray", ".zgroup")]
        file = random.choice(texts if texts and random.randrange(3) else files)
        what = random.randrange(12)
        if what == 0:
            file.unlink()
        elif what == 1:
            shutil.rmtree(file.parent) if file.parent != folder else file.unlink()
        elif what == 2:
            file.unlink()
            file.symlink_to(random.choice((file, Path("/etc/passwd"), Path("/dev/zero"), folder.parent)))
        elif what == 3:
            file.unlink()
            file.mkdir()
        elif file in texts and what < 10:
            with_text = file.read_text(encoding="utf-8", errors="replace")
            try:
                file.write_bytes(altered_text(random, with_text))
            except (ValueError, RecursionError):  # no JSON any more: damaged before
                file.write_bytes(damaged(random, with_text.encode()))
        else:
            file.write_bytes(damaged(random, file.read_bytes()))
