"""The plots: their figures, and that they can be read by everybody."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import same_color
from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.training.breakdown import compute_by_source
from keras_efsnet.training.case_pictures import Case, draw_cases, pick_cases
from keras_efsnet.training.intervals import wilson
from keras_efsnet.training.patients import compute_by_patient, join_views
from keras_efsnet.training.per_image import ImageScore
from keras_efsnet.training.plot_style import LOOK, alternative_text, in_our_look
from keras_efsnet.training.plots import (
    CASES,
    CHARTS,
    draw_confusion,
    draw_dice_histogram,
    draw_risk_coverage,
    draw_roc,
    write_plots,
)
from keras_efsnet.training.plots_by_source import (
    draw_dice_by_size,
    draw_figures,
    draw_reliability,
    draw_roc_by_source,
)
from keras_efsnet.training.scores import compute_metrics

LONG = "a hospital whose name is long, and that has two scanners of $one maker$"


def make_rows(images=90, sources=("here", LONG), seed=0) -> list[ImageScore]:
    """Rows of two images a patient, each class in turn, right more often than not."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(images):
        label = LABELS[number // 2 % 3]
        scores = rng.normal(size=3) + 1.2 * (np.array(LABELS) == label)
        probabilities = np.exp(2 * scores) / np.exp(2 * scores).sum()
        truth = int(label != "normal") * int(rng.integers(50, 3000))
        shared = int(truth * rng.choice([0, *rng.uniform(size=5)]))
        row = ImageScore(
            stem=f"image {number} of {LONG}",
            source=sources[number // 2 % len(sources)],
            group=f"patient {number // 2}",
            label=label,
            probabilities=tuple(map(float, probabilities)),
            **{"height": 100, "width": 100, "truth_px": truth},
            predicted_px=shared + int(rng.integers(2)) * 100,
            intersection_px=shared,
            **{"hd95": 3.0 if truth else None, "mask_peak": 0.9},
            mask_margin=float(rng.uniform()),
            refer=("class unsure",) if rng.uniform() < 0.3 else (),
        )
        rows.append(row)
    return rows


def make_case(row: ImageScore) -> Case:
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:20] = True
    return Case(row, 0.5, np.full((30, 40), 99, np.uint8), mask, mask[::-1])


@in_our_look
def draw_all(rows):
    return {
        "figures": draw_figures(compute_by_source(rows)),
        "roc": draw_roc(rows),
        "roc_malignant_benign": draw_roc_by_source(rows, "ROC"),
        "confusion": draw_confusion(rows),
        "reliability": draw_reliability(rows),
        "risk_coverage": draw_risk_coverage(rows),
        "dice_histogram": draw_dice_histogram(rows),
        "dice_by_size": draw_dice_by_size(rows),
        "cases": draw_cases([make_case(row) for row in rows[:5]]),
    }


@pytest.fixture(scope="module")
def figures():
    found = draw_all(make_rows())
    with rc_context(LOOK):
        for figure in found.values():
            figure.canvas.draw()
    return found


def texts_of(figure):
    yield from figure.texts
    for axes in figure.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high:
                    yield tick.label1
    for legend in figure.legends:
        yield from legend.get_texts()


def test_no_text_is_cut(figures):
    for name, figure in figures.items():
        width, height = figure.bbox.size
        for text in texts_of(figure):
            if text.get_text():
                box = text.get_window_extent()
                inside = box.x0 > -1 and box.x1 < width + 1 and box.y0 > -1
                assert inside and box.y1 < height + 1, (name, text.get_text())


def test_no_legend_hides_anything(figures):
    for name, figure in figures.items():
        assert not any(axes.get_legend() for axes in figure.axes), name
        for legend in figure.legends:
            box = legend.get_window_extent()
            for axes in figure.axes:
                assert not box.overlaps(axes.get_window_extent()), name


def test_lines_differ_without_their_colour(figures):
    for name, figure in figures.items():
        for legend in figure.legends:
            looks = [
                (line.get_linestyle(), line.get_marker(), line.get_fillstyle())
                for line in legend.get_lines()
            ]
            assert len(looks) == len(set(looks)), name


def test_bars_differ_without_their_colour(figures):
    patches = figures["dice_histogram"].legends[0].get_patches()
    assert len({patch.get_hatch() for patch in patches}) == len(LABELS)


def test_sources_differ_without_their_colour(figures):
    lines = figures["dice_by_size"].axes[0].lines
    points = [line for line in lines if line.get_linestyle() == "None"]
    for one, other in combinations(points, 2):
        if not same_color(one.get_color(), other.get_color()):
            assert one.get_fillstyle() != other.get_fillstyle()


def marks(figure):
    """The single points of the first axes: marker and place."""
    for line in figure.axes[0].lines:
        (x, y), marker = line.get_data(), line.get_marker()
        if len(x) == 1:
            yield marker, (float(x[0]), float(y[0]))


def test_operating_points_are_those_of_the_metrics():
    rows = make_rows(sources=("here",))
    found = compute_metrics(rows)["class"]

    points = dict(marks(draw_roc_by_source(rows, "ROC")))

    assert points["o"][1] == pytest.approx(found["sensitivity_at_90_specificity"])
    assert 1 - points["o"][0] >= 0.9
    assert 1 - points["s"][0] == pytest.approx(found["specificity_at_90_sensitivity"])
    assert points["s"][1] >= 0.9


def test_s_detect_is_drawn_as_published():
    figure = draw_roc_by_source(make_rows(), "ROC")

    assert dict(marks(figure))["*"] == pytest.approx((0.17, 0.82))
    assert "sensitivity 0.82, specificity 0.83" in alternative_text(figure)


def test_reliability_has_the_intervals_of_its_bins():
    rows = make_rows(600, sources=("here",))
    # Ten images of seven patients in a bin of their own, all wrong.
    few = [
        replace(row, probabilities=(0.34, 0.33, 0.33), group=f"few {number % 7}")
        for number, row in enumerate(r for r in rows if r.label == "benign")
    ][:10]
    rows = [row for row in rows if max(row.probabilities) > 0.4] + few

    panel = draw_reliability(rows).axes[0]

    spans = [line.get_ydata() for line in panel.lines if line.get_marker() == "None"]
    spans = [span for span in spans if list(span) != [0, 1]]
    points = [line for line in panel.lines if line.get_marker() == "o"]
    hollow = [line for line in points if line.get_fillstyle() == "none"]
    assert [line.get_ydata()[0] for line in hollow] == [0]
    assert len(spans) == len(points) - 1
    sure = [row for row in rows if max(row.probabilities) >= 14 / 15]
    hits = np.array([LABELS[np.argmax(r.probabilities)] == r.label for r in sure])
    _, groups = np.unique([row.group for row in sure], return_inverse=True)
    assert list(spans[-1]) == pytest.approx(wilson(hits, groups))


def test_main_figures_are_drawn_with_their_intervals():
    rows = make_rows()
    sources = compute_by_source(rows)

    figure = draw_figures(sources)

    spans = [tuple(line.get_xdata()) for line in figure.axes[0].lines]
    for part in sources.values():
        assert tuple(part["mask"]["dice_tumour_ci"]) in spans
        accuracy = part["class"]["accuracy"]
        assert f"accuracy of the class: {accuracy:.2f}" in alternative_text(figure)


def test_every_file_has_a_caption_and_alternative_text(tmp_path):
    rows = make_rows()
    cases = {name: [make_case(rows[0])] for name in CASES}

    write_plots(rows, compute_by_source(rows), cases, tmp_path)

    assert {path.stem for path in tmp_path.iterdir()} == {*CHARTS, *CASES}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            text = image.info["Description"]
        assert len(text) > 40, path
        assert "\n" not in text
    with Image.open(tmp_path / "confusion.png") as image:
        count = compute_metrics(rows)["class"]["confusion"][1][2]
        assert f"benign called malignant: {count};" in image.info["Description"]


def test_cases_are_picked_by_their_dice():
    (row,) = make_rows(1)
    shared = {"best": 90, "good": 80, "middle": 60, "poor": 40, "missed": 5, "none": 0}
    rows = [
        replace(row, stem=stem, label="benign", truth_px=100, predicted_px=100)
        for stem in shared
    ]
    rows = [
        replace(row, intersection_px=pixels)
        for row, pixels in zip(rows, shared.values(), strict=True)
    ]
    rows[-1] = replace(rows[-1], truth_px=500)
    rows += [
        replace(row, stem=f"normal {n}", label="normal", truth_px=0, predicted_px=n)
        for n in (0, 7, 9)
    ]

    picked = pick_cases(rows)

    stems = {name: [rows[n].stem for n in places] for name, places in picked.items()}
    assert stems == {
        "best_cases": ["best", "good", "middle", "poor"],
        "median_cases": ["good", "middle", "best", "poor"],
        "worst_cases": ["poor", "middle", "good", "best"],
        "missed_cases": ["none", "missed"],
        "false_masks": ["normal 9", "normal 7"],
    }
    assert len(pick_cases(rows[:1] * 20)["best_cases"]) == 8
    assert pick_cases([replace(rows[-3])]) == {}


def test_patients_have_the_answer_of_their_worst_view():
    rows = make_rows(4)
    sure, unsure = (0.0, 0.1, 0.9), (0.0, 0.4, 0.6)
    views = [
        replace(rows[0], label="benign", probabilities=unsure),
        replace(rows[1], label="normal", probabilities=sure),
        replace(rows[2], label="malignant", probabilities=(0.8, 0.2, 0.0)),
        replace(rows[3], label="benign", probabilities=(0.1, 0.9, 0.0)),
    ]

    joined = join_views(views)

    assert [row.label for row in joined] == ["benign", "malignant"]
    assert [row.probabilities for row in joined] == [sure, (0.1, 0.9, 0.0)]
    metrics = compute_by_patient(views)
    assert (metrics["n"], metrics["groups"]) == (2, 2)
    assert metrics["class"]["accuracy"] == 0


def test_patients_with_one_image_each_are_no_other_table():
    assert compute_by_patient(make_rows(40)[::2]) is None
    rows = [replace(row, labels=(), tasks=("mask",)) for row in make_rows(4)]
    assert compute_by_patient(rows) is None
