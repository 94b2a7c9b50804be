"""Figures of several panels: side by side on a wide screen, stacked on a phone."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramdiff.report.style import Illustration, embed

WIDE, NARROW = 11.6, 4.2
"""Inches: of all panels beside each other, and of one on a phone."""
PANEL_HEIGHT = 3.2


def panels(
    draw: Sequence[Callable[[Axes], None]], alt: str, caption: str, *, legend: bool
) -> Illustration:
    """Draw one figure of several panels, in a wide and in a narrow form.

    Args:
        draw: fills each panel.
        alt: text for readers who cannot see the figure.
        caption: how to read it.
        legend: if the first panel's labels are explained above the panels.

    Returns:
        The figure.
    """
    count = len(draw)
    columns = min(count, 4)
    width = min(WIDE, 4.7 if count == 1 else 3.9 * columns)

    def drawn(rows: int, across: int) -> Callable[[Figure], None]:
        def fill(figure: Figure) -> None:
            for place, panel in enumerate(draw):
                panel(figure.add_subplot(rows, across, place + 1))
            if legend:
                handles, labels = figure.axes[0].get_legend_handles_labels()
                in_row = {1: 2, 2: 3}.get(across, len(labels))  # what its width holds
                figure.legend(
                    handles, labels, loc="outside upper left", ncols=in_row, markerscale=1.8
                )

        return fill

    rows = -(-count // columns)
    top = (0.35 if columns > 2 else 0.6) if legend else 0.0
    wide = embed(drawn(rows, columns), (width, top + PANEL_HEIGHT * rows))
    narrow = embed(
        drawn(count, 1), (NARROW, (0.8 if legend else 0.0) + 0.9 * PANEL_HEIGHT * count)
    )
    return Illustration(wide, round(width * 96), alt, caption, narrow)
