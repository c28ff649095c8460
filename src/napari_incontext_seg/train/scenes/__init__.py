"""Families of scenes, each a function of a `Draw` and the size in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from .cells import fluorescent_nuclei, glowing_cells, particles, phase_contrast, stained_section
from .regions import anatomy, fibres, leaves, textured_regions, vessels
from .scene import PARTS, Family, Scene
from .tissue import cell_walls, electron_neuropil, glands, myelin


@dataclass(frozen=True)
class Recipe:
    """A family, how often it is drawn, and how often it is in colour and what holds dye is dark."""

    family: Family
    weight: float
    colour: float
    inverted: float


FAMILIES: dict[str, Recipe] = {
    "fluorescent_nuclei": Recipe(fluorescent_nuclei, 1.6, 0.15, 0.1),
    "phase_contrast": Recipe(phase_contrast, 1.6, 0.05, 0.1),
    "glowing_cells": Recipe(glowing_cells, 0.8, 0.05, 0.1),
    "stained_section": Recipe(stained_section, 1.2, 0.85, 0.85),
    "particles": Recipe(particles, 0.7, 0.25, 0.4),
    "electron_neuropil": Recipe(electron_neuropil, 1.6, 0.02, 0.8),
    "cell_walls": Recipe(cell_walls, 1.0, 0.2, 0.25),
    "myelin": Recipe(myelin, 0.9, 0.15, 0.3),
    "glands": Recipe(glands, 1.0, 0.75, 0.8),
    "vessels": Recipe(vessels, 1.4, 0.6, 0.05),
    "fibres": Recipe(fibres, 0.8, 0.2, 0.25),
    "textured_regions": Recipe(textured_regions, 1.2, 0.3, 0.4),
    "anatomy": Recipe(anatomy, 1.0, 0.03, 0.1),
    "leaves": Recipe(leaves, 1.2, 0.6, 0.3),
}

__all__ = ["FAMILIES", "PARTS", "Family", "Recipe", "Scene"]
