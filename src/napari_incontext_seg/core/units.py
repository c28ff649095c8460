"""Names of units: what TIFF files call them, and what OME-Zarr and `Stack` do (``micrometer``, ``second``)."""

from __future__ import annotations

# OME-Zarr name -> (metres or seconds, symbol in ImageJ and plain TIFF, symbol in OME-XML, further spellings read)
_UNITS: dict[str, tuple[float, str, str, tuple[str, ...]]] = {
    "angstrom": (1e-10, "angstrom", "Å", ("a",)),
    "nanometer": (1e-9, "nm", "nm", ("nanometre", "nanometers")),
    "micrometer": (1e-6, "micron", "µm", ("um", "μm", "microns", "micrometre", "micrometers")),
    "millimeter": (1e-3, "mm", "mm", ("millimetre",)),
    "centimeter": (1e-2, "cm", "cm", ("centimetre",)),
    "meter": (1.0, "m", "m", ("metre",)),
    "millisecond": (1e-3, "ms", "ms", ("msec",)),
    "second": (1.0, "s", "s", ("sec", "seconds")),
    "minute": (60.0, "min", "min", ("minutes",)),
    "hour": (3600.0, "h", "h", ("hr", "hours")),
}
_NAMES = {s.lower(): name for name, (_, ij, ome, more) in _UNITS.items() for s in (name, ij, ome, *more)}


def unit_name(symbol: object) -> str:
    """``"µm"`` -> ``"micrometer"``; ``""`` for none, pixels, and what is not known."""
    text = str(symbol or "").replace("\\u00B5", "µ").replace("\\u00b5", "µ").strip().lower()
    return _NAMES.get(text, "")


def imagej_symbol(name: str) -> str:
    """``"micrometer"`` -> ``"micron"``."""
    return _UNITS[name][1] if name in _UNITS else name


def ome_symbol(name: str) -> str:
    """``"micrometer"`` -> ``"µm"``."""
    return _UNITS[name][2] if name in _UNITS else name


def convert(value: float, unit: str, to: str) -> float:
    """``(500, "nanometer", "micrometer")`` -> 0.5; unchanged where a unit is not known."""
    if unit == to or unit not in _UNITS or to not in _UNITS:
        return value
    return value * _UNITS[unit][0] / _UNITS[to][0]


def micrometers(value: float, unit: str) -> float | None:
    """``(500, "nanometer")`` -> 0.5; None for what is not a unit of length (none, pixel, second)."""
    name = unit_name(unit)
    return float(convert(value, name, "micrometer")) if name.endswith("meter") or name == "angstrom" else None
