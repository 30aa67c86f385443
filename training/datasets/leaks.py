"""Counts scans that are in more than one subset of a split (leakage)."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from keras_efsnet.files import write_text
from keras_efsnet.training.datasets.busi import Sample
from keras_efsnet.training.datasets.splits import Split, read_groups


def count_leaks(split: Split, split_files: Sequence[str | Path]) -> tuple[int, int]:
    """Counts the scans that are in more than one of training, validation and test.

    Images with one value of a folds file's `group` are one scan. Without this column,
    `find_duplicates` takes about a minute for a thousand images; the result is cached.

    Args:
        split: of a dataset.
        split_files: the files that it was read from.

    Returns:
        The number of these scans and of their images.

    Raises:
        OSError, ValueError: a file cannot be read, or OpenCV is not installed.
    """
    subset = {
        sample: name
        for name in ("test", "validation", "train")
        for sample in getattr(split, name)
    }
    samples = list(subset)
    groups: dict[str, list[Sample]] = defaultdict(list)
    known = _named_groups(split_files) or _found_groups(samples)
    for sample in samples:
        groups[known.get(sample.stem, f"alone: {sample.stem}")].append(sample)
    leaks = [g for g in groups.values() if len({subset[sample] for sample in g}) > 1]
    return len(leaks), sum(map(len, leaks))


def _named_groups(split_files: Sequence[str | Path]) -> dict[str, str]:
    path = Path(split_files[0])
    return read_groups(path) if path.suffix.lower() == ".csv" else {}


def _found_groups(samples: Sequence[Sample]) -> dict[str, str]:
    """Gives the groups of these images, from the cache or from `find_duplicates`."""
    cache = _cache_file(samples)
    try:
        return json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        groups = _look_for_groups(samples)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, json.dumps(groups, ensure_ascii=False), durable=True)
    except OSError:
        pass  # The next run finds the groups again.
    return groups


def _look_for_groups(samples: Sequence[Sample]) -> dict[str, str]:
    # Imported here because it needs OpenCV.
    from keras_efsnet.training.datasets.duplicates import find_duplicates

    found = find_duplicates([sample.image for sample in samples])
    return {samples[i].stem: str(n) for n, group in enumerate(found) for i in group}


def _cache_file(samples: Sequence[Sample]) -> Path:
    """Names the cache by the images' paths, sizes and times."""
    digest = hashlib.sha256()
    for sample in samples:
        facts = sample.image.stat()
        name = sample.image.resolve()
        digest.update(f"{name}\n{facts.st_size}\n{facts.st_mtime_ns}\n".encode())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return folder / "keras-efsnet" / f"duplicates-{digest.hexdigest()[:16]}.json"
