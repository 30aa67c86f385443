"""Measures how well `find_duplicates` finds images of the same scan.

    python benchmarks/duplicates.py --data DIR --groups FOLDS.csv

True pairs are images with the same `group` in the folds file. Check the printed false
pairs by eye: some show the same scan although the file has different groups.
"""

import argparse
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from keras_efsnet.training.datasets.busi import index_dataset
from keras_efsnet.training.datasets.duplicates import find_duplicates
from keras_efsnet.training.datasets.splits import read_groups

Pairs = set[tuple[str, str]]


def all_pairs(groups: Iterable[Iterable[str]]) -> Pairs:
    return {
        pair for group in groups for pair in itertools.combinations(sorted(group), 2)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--groups", type=Path, required=True)
    arguments = parser.parse_args()
    samples = index_dataset(arguments.data)
    label = {sample.stem: sample.label for sample in samples}
    members = defaultdict(set)
    for stem, group in read_groups(arguments.groups).items():
        members[group].add(stem)

    wall, cpu = time.perf_counter(), time.process_time()
    found = find_duplicates([sample.image for sample in samples])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    true = all_pairs(members.values())
    reported = all_pairs([samples[i].stem for i in group] for group in found)
    false = reported - true
    for one, other in sorted(true - reported):
        print(f"missed: {one}, {other}")
    for one, other in sorted(false):
        print(f"false: {one}, {other}")
    contradicting = [g for g in members.values() if len({label[s] for s in g}) > 1]
    recognized = sum(
        any(label[one] != label[other] for one, other in all_pairs([group]) & reported)
        for group in contradicting
    )
    print(
        f"{len(samples)} images, {len(true)} true pairs: recall "
        f"{len(reported & true) / len(true):.3f}, false pairs {len(false)} of "
        f"{len(reported)} reported; contradicting groups {recognized} of "
        f"{len(contradicting)}; {wall:.0f} s on {os.cpu_count()} cores, CPU {cpu:.0f} s"
    )


if __name__ == "__main__":
    main()
