"""Labels cover neither one another nor what is drawn, as long as there is room."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from paramdiff.report.figures.label_placement import Label, place_labels

POINTS = [(0.5, 0.5), (0.5, 0.5), (0.52, 0.5), (0.5, 0.53), (0.98, 0.97)]


def test_labels_do_not_overlap():
    figure = Figure(figsize=(6, 5))
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1))
    labels = [Label(f"label {i}", point, i, True) for i, point in enumerate(POINTS)]
    place_labels(figure, axes, labels, POINTS)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
    assert len(boxes) == len(POINTS)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    inside = axes.get_window_extent(renderer)
    for box in boxes:
        assert inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
        assert not any(box.contains(*axes.transData.transform(point)) for point in POINTS)


def test_what_may_be_left_out_is_left_out_where_there_is_no_room():
    figure = Figure(figsize=(2, 2))
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1))
    crowd = [(x / 40, y / 40) for x in range(41) for y in range(41)]
    wanted = [Label("needed", (0.5, 0.5), 0, True), Label("welcome", (0.5, 0.5), 1, False)]
    place_labels(figure, axes, wanted, crowd)
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["needed"]
