"""Fakes for tests: predictors without torch whose outcomes are known, and labels in memory."""

import numpy as np

from napari_incontext_seg.core.instances import components
from napari_incontext_seg.core.types import Segmentation


class ThresholdPredictor:
    """Paints the largest id of the context where the plane is bright, and remembers what it was shown."""

    name, digest = "threshold", "0"

    def __init__(self):
        self.contexts = []

    def bind(self, context):
        self.contexts.append(context)

        def segment(plane):
            bright = plane[..., 0] > 0.5
            confidence = np.abs(plane[..., 0] - 0.5) * 2
            labels = np.where(bright, np.uint32(max(context.ids)), np.uint32(0))
            return Segmentation(components(labels) if context.kind == "instance" else labels, confidence)

        return segment


class ArrayPlanes:
    """Labels in memory, of as many slices as a stack has."""

    def __init__(self, stack):
        self.data = np.zeros((len(stack), *stack.plane_shape), np.uint32)

    def __len__(self):
        return len(self.data)

    def read(self, position):
        return self.data[position].copy()

    def write(self, position, plane):
        self.data[position] = plane
