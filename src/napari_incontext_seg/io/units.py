"""Names of units: what TIFF files call them, and what OME-Zarr and `Stack` do (``micrometer``, ``second``)."""

from __future__ import annotations

# OME-Zarr name -> (symbol in ImageJ and plain TIFF, symbol in OME-XML, further spellings read)
_UNITS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "angstrom": ("angstrom", "Å", ("a",)),
    "nanometer": ("nm", "nm", ("nanometre", "nanometers")),
    "micrometer": ("micron", "µm", ("um", "μm", "microns", "micrometre", "micrometers")),
    "millimeter": ("mm", "mm", ("millimetre",)),
    "centimeter": ("cm", "cm", ("centimetre",)),
    "meter": ("m", "m", ("metre",)),
    "millisecond": ("ms", "ms", ("msec",)),
    "second": ("s", "s", ("sec", "seconds")),
    "minute": ("min", "min", ("minutes",)),
    "hour": ("h", "h", ("hr", "hours")),
}
_NAMES = {s.lower(): name for name, (ij, ome, more) in _UNITS.items() for s in (name, ij, ome, *more)}


def unit_name(symbol: object) -> str:
    """``"µm"`` -> ``"micrometer"``; ``""`` for none, pixels, and what is not known."""
    text = str(symbol or "").replace("\\u00B5", "µ").replace("\\u00b5", "µ").strip().lower()
    return _NAMES.get(text, "")


def imagej_symbol(name: str) -> str:
    """``"micrometer"`` -> ``"micron"``."""
    return _UNITS[name][0] if name in _UNITS else name


def ome_symbol(name: str) -> str:
    """``"micrometer"`` -> ``"µm"``."""
    return _UNITS[name][1] if name in _UNITS else name
