"""A video of three objects of different grey, and a predictor that tells them by it."""

import numpy as np
from fakes import ThresholdPredictor

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Segmentation

GREY = {1: 250, 2: 170, 3: 90}  # of each object, so that its looks tell it


class NearestGrey(ThresholdPredictor):
    """Paints each pixel with the label whose mean grey in the examples is nearest."""

    def bind(self, context):
        self.contexts.append(context)
        found = {}
        for e in context.examples:
            for i in e.ids:
                found.setdefault(i, []).append(e.image[..., 0][(e.labels == i) & e.valid].mean())
        ids = sorted(found)
        means = np.array([np.mean(found[i]) for i in ids])

        def segment(plane):
            labels = np.array(ids, np.uint32)[np.abs(plane[..., :1] - means).argmin(-1)]
            return Segmentation(labels, np.ones(labels.shape, np.float32))

        return segment


def truth(t):
    """Object 1 leaves after frame 2 and is back in frame 5; 2 is always there; 3 is there from the beginning."""
    plane = np.zeros((20, 24), np.uint32)
    if t <= 2 or t >= 5:
        plane[2:7, 1 + t : 6 + t] = 1
    plane[9:14, 2 + t : 8 + t] = 2
    plane[15:19, 15 - t : 20 - t] = 3
    return plane


def video(frames=7):
    data = np.zeros((frames, 20, 24), np.uint8)
    for t in range(frames):
        for i, grey in GREY.items():
            data[t][truth(t) == i] = grey
    return Stack(data, "tyx")


def only(t, *ids):
    return np.where(np.isin(truth(t), ids), truth(t), 0)
