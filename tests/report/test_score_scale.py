"""Round numbers on the axis, as people write them."""

import numpy as np
from matplotlib.figure import Figure

from paramdiff.report.figures.score_scale import LogHeight


def test_nothing_has_no_sign():
    """The lower limit of an axis with a margin lies below zero."""
    axes, height = Figure().add_subplot(), LogHeight(0.001)
    axes.set_ylim(-0.01, float(height(np.array(0.9))))
    height.label(axes)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "0%" and labels[-1] == "90%"
