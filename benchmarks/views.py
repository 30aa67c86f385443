"""How the views of a patient become one class: rules compared on BUS-BRA.

    python benchmarks/views.py --data BUSBRA --split FOLDS.csv [--model M] [--test]

Prints figures of malignant against benign by image and by patient, with 95 % intervals
over patients, for the training and validation images together, then for the validation
images alone. The model was trained on the former, so their figures are too good, for
each rule alike. `--test` prints the figures of the shipped rule on the test images, and
of no other rule.

Made examinations: the images of several patients of one scanner as one examination,
which is malignant if one of the patients is. They stand for examinations with several
lesions, of which not all are malignant.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_efsnet.images.frame import Frame
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import DEFAULT_MODEL
from keras_efsnet.prediction.examinations import worst_view
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.postprocess import Prediction
from keras_efsnet.prediction.predictor import Predictor, predict_frame
from keras_efsnet.training.bootstrap import draw_groups, percentile_interval
from keras_efsnet.training.datasets.reading import read_datasets
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.intervals import Metric, estimate, proportion, ranking
from keras_efsnet.training.scores import BENIGN, MALIGNANT, NORMAL, malignant_share

SEED = 0
JOINED = (2, 4)
"""Patients of a made examination."""


@dataclass(frozen=True, eq=False)
class View:
    """An image and its prediction."""

    sample: Sample
    prediction: Prediction

    @property
    def probabilities(self) -> np.ndarray:
        return np.array([self.prediction.probabilities[label] for label in LABELS])


Examination = list[View]


def stack(views: Examination) -> np.ndarray:
    return np.array([view.probabilities for view in views])


def by_worst_view(views: Examination) -> np.ndarray:
    worst = worst_view([view.prediction.to_json() for view in views])
    return np.array([worst["probabilities"][label] for label in LABELS])


def by_geometric_mean(views: Examination) -> np.ndarray:
    """The softmax of the views' mean logits."""
    mean = np.exp(np.log(np.maximum(stack(views), 1e-7)).mean(axis=0))
    return mean / mean.sum()


def by_extremes(views: Examination) -> np.ndarray:
    normal, malignant = stack(views)[:, NORMAL].min(), stack(views)[:, MALIGNANT].max()
    return np.array([normal, 1 - normal - malignant, malignant])


def by_noisy_or(views: Examination) -> np.ndarray:
    normal = stack(views)[:, NORMAL].prod()
    malignant = 1 - (1 - stack(views)[:, MALIGNANT]).prod()
    return np.array([normal, 1 - normal - malignant, malignant])


def by_mean_not_referred(views: Examination) -> np.ndarray:
    kept = [view for view in views if not view.prediction.refer]
    return stack(kept or views).mean(axis=0)


def by_mean_of_mask_peaks(views: Examination) -> np.ndarray:
    peaks = [view.prediction.probability.max() for view in views]
    return np.average(stack(views), axis=0, weights=peaks)


RULES: dict[str, Callable[[Examination], np.ndarray]] = {
    "the worst view (shipped)": by_worst_view,
    "the first image alone": lambda views: views[0].probabilities,
    "mean": lambda views: stack(views).mean(axis=0),
    "geometric mean (mean logits)": by_geometric_mean,
    "mean, weighted by the mask's peak": by_mean_of_mask_peaks,
    "mean of the views not referred": by_mean_not_referred,
    "highest P(malignant), lowest P(normal)": by_extremes,
    "noisy-or": by_noisy_or,
}
SHIPPED = next(iter(RULES))


def predict(predictor: Predictor, samples: Sequence[Sample]) -> list[View]:
    return [
        View(sample, predict_frame(predictor, Frame(read_image(sample.image))))
        for sample in samples
    ]


def by_patient(views: Sequence[View]) -> list[Examination]:
    patients: dict[str | None, Examination] = {}
    for view in views:
        patients.setdefault(view.sample.person, []).append(view)
    return list(patients.values())


def join(patients: Sequence[Examination], count: int) -> list[Examination]:
    """Joins the patients of each scanner by chance, `count` at a time."""
    scanners: dict[str | None, list[Examination]] = {}
    for patient in patients:
        scanners.setdefault(patient[0].sample.device, []).append(patient)
    rng = np.random.default_rng(SEED)
    joined: list[Examination] = []
    for group in scanners.values():
        order = rng.permutation(len(group))
        for start in range(0, len(group) - count + 1, count):
            chosen = order[start : start + count]
            joined.append([view for one in chosen for view in group[one]])
    return joined


def measure(probabilities: np.ndarray, malignant: np.ndarray) -> dict[str, Metric]:
    every, called = np.full(malignant.shape, True), probabilities.argmax(axis=1)
    truth = np.where(malignant, MALIGNANT, BENIGN)
    return {
        "auroc": ranking(malignant_share(probabilities), malignant, every),
        "accuracy": proportion(called == truth, every),
        "sensitivity": proportion(called == MALIGNANT, malignant),
        "specificity": proportion(called != MALIGNANT, ~malignant),
    }


def cells(figures: dict) -> list[str]:
    shown = []
    for name in ("auroc", "accuracy", "sensitivity", "specificity"):
        interval = figures[f"{name}_ci"]
        ends = "" if interval is None else " ({:.3f} to {:.3f})".format(*interval)
        shown.append(f"{figures[name]:.3f}{ends}")
    return shown


def print_row(*parts: str) -> None:
    print("|", " | ".join(parts), "|", flush=True)


def print_head(title: str) -> None:
    columns = ("AUROC", "less the shipped rule's", "accuracy", "sensitivity")
    print(f"\n{title}\n")
    print_row("", *columns, "specificity")
    print("|---" * (2 + len(columns)) + "|")


def print_images(views: Sequence[View]) -> None:
    _, groups = np.unique([view.sample.person for view in views], return_inverse=True)
    malignant = np.array([view.sample.label == "malignant" for view in views])
    metrics = measure(stack(list(views)), malignant)
    auroc, *others = cells(estimate(metrics, groups, draw_groups(groups)))
    print_row("each image alone", auroc, "", *others)


def print_rules(examinations: Sequence[Examination], rules: Sequence[str]) -> None:
    malignant = np.array(
        [any(v.sample.label == "malignant" for v in views) for views in examinations]
    )
    groups = np.arange(len(examinations))
    draws = draw_groups(groups)
    fewest = int(min(malignant.sum(), (~malignant).sum()))
    shipped: np.ndarray | None = None
    for name in rules:
        combined = np.array([RULES[name](views) for views in examinations])
        metrics = measure(combined, malignant)
        areas = metrics["auroc"].compute(np.vstack([np.ones(len(groups)), draws]))
        shipped = areas if shipped is None else shipped
        gap, *gaps = areas - shipped
        ends = percentile_interval(np.array(gaps), fewest)
        more = f"{gap:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else ""
        auroc, *others = cells(estimate(metrics, groups, draws))
        print_row(name, auroc, more, *others)


def print_likeness(patients: Sequence[Examination]) -> None:
    """Prints how often the two images of a patient agree, and two patients would."""
    pairs = [patient for patient in patients if len(patient) == 2]
    print(
        f"\nOf {len(patients)} patients, {len(pairs)} have two images. These agree in"
    )
    for fact in ("histology", "birads", "device"):
        values = [[getattr(view.sample, fact) for view in pair] for pair in pairs]
        same = sum(one == other for one, other in values)
        _, counts = np.unique([one for one, _ in values], return_counts=True)
        chance = len(pairs) * ((counts / counts.sum()) ** 2).sum()
        print(f"- {fact}: {same} (two patients by chance: {chance:.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    split = read_split(read_datasets(options.data), [options.split])
    predictor = load_predictor(options.model)
    if options.test:
        views = predict(predictor, split.test)
        patients = by_patient(views)
        print_head(f"Test: {len(views)} images of {len(patients)} patients")
        print_images(views)
        print_rules(patients, [SHIPPED])
        return
    validation = predict(predictor, split.validation)
    every = [*validation, *predict(predictor, split.train)]
    print_likeness(by_patient(every))
    for name, views in (("Validation", validation), ("All but the test", every)):
        patients = by_patient(views)
        print_head(f"{name}: {len(views)} images of {len(patients)} patients")
        print_images(views)
        print_rules(patients, list(RULES))
    several = [patient for patient in patients if len(patient) > 1]
    print_head(f"Of these, {len(several)} patients with several images")
    print_rules(several, list(RULES))
    for count in JOINED:
        joined = join(patients, count)
        print_head(f"Made examinations: {len(joined)}, each of {count} patients")
        print_rules(joined, list(RULES))


if __name__ == "__main__":
    main()
