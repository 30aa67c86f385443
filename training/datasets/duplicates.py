"""Images of the same scan: copies that were cropped, resized or marked again.

Each image's most similar images (`candidates`) are compared with it (`scans`). About a
minute for 4,000 images on two cores, and remembered for the next time.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from keras_efsnet.files import write_text
from keras_efsnet.images.reading import read_image
from keras_efsnet.training.datasets.candidates import (
    VOCABULARIES,
    add_products,
    learn_vocabulary,
    make_vector,
    nearest_pairs,
)
from keras_efsnet.training.datasets.scans import Scan, correlate, describe

SAME_SCAN = 0.25
"""The least correlation of two images of one scan (docs/explanation/reliability.md)."""

OTHER_WAY = 0.15
"""The least correlation with the other image laid on the one: text that both show can
lay one image on another by chance, but hardly both ways."""

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

_METHOD = "3"
"""Changes with what would be found, so that what is remembered is not used."""

_DIGITS = 32
"""Of a file's SHA-256 that are kept."""

_T = TypeVar("_T")


def find_duplicates(
    images: Sequence[Path], progress: Progress = lambda done, total: None
) -> list[list[int]]:
    """Finds the images that show the same scan, exact copies included.

    Every link in a group was verified; groups are disjoint.

    Args:
        images: image files.
        progress: told of each step.

    Returns:
        Groups of two or more positions in `images`, each in order.

    Raises:
        OSError, ValueError: an image cannot be read, or OpenCV is not installed.
    """
    if not images:
        return []
    count = len(images)
    with threadpool_limits(1), ThreadPoolExecutor() as pool:

        def run(part: int, work: Callable[..., _T], items: Sequence) -> Iterator[_T]:
            for number, result in enumerate(pool.map(work, items), start=1):
                progress(part * count + number * count // len(items), 3 * count)
                yield result

        scans = list(run(0, _read_scan, images))
        pairs = _candidate_pairs(scans, pool)
        progress(2 * count, 3 * count)
        verified = list(run(2, lambda pair: _same_scan(scans, *pair), pairs))
    progress(3 * count, 3 * count)
    links = [pair for pair, same in zip(pairs, verified, strict=True) if same]
    return _components(links + _exact_copies(scans), count)


def remembered_duplicates(
    images: Sequence[Path], progress: Progress = lambda done, total: None
) -> list[list[int]]:
    """Does as `find_duplicates`, once for files of the same content.

    What was found is kept in `~/.cache/keras-efsnet`, or under `$XDG_CACHE_HOME`, for
    these files under any names, in any folders and in any order.
    """
    digests = _digest_files(images)
    cache = _cache_file(digests)
    positions: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        positions.setdefault(digest, []).append(position)
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return sorted(sorted(i for d in group for i in positions[d]) for group in kept)
    except (OSError, ValueError, TypeError, KeyError):
        groups = find_duplicates(images, progress)
    text = json.dumps([sorted({digests[i] for i in group}) for group in groups])
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, text + "\n")
    except OSError:
        pass  # The next run looks again.
    return groups


def _read_scan(path: Path) -> Scan:
    return describe(read_image(path))


def _candidate_pairs(
    scans: Sequence[Scan], pool: ThreadPoolExecutor
) -> list[tuple[int, int]]:
    if not any(len(scan.features) for scan in scans):
        return []
    alike = np.zeros((len(scans), len(scans)), np.float32)
    for number in range(VOCABULARIES):
        vocabulary = learn_vocabulary(scans, seed=number)
        work = partial(make_vector, vocabulary=vocabulary)
        add_products(alike, np.stack(list(pool.map(work, scans))))
    return nearest_pairs(alike)


def _same_scan(scans: Sequence[Scan], one: int, other: int) -> bool:
    first = correlate(scans[one], scans[other])
    if first < OTHER_WAY:
        return False
    second = correlate(scans[other], scans[one])
    return max(first, second) >= SAME_SCAN and second >= OTHER_WAY


def _exact_copies(scans: Iterable[Scan]) -> list[tuple[int, int]]:
    first: dict[bytes, int] = {}
    return [
        (first.setdefault(scan.digest, position), position)
        for position, scan in enumerate(scans)
    ]


def _components(links: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    rows, columns = np.array(links).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _digest_files(images: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_digest, images))


def _digest(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()[:_DIGITS]


def _cache_file(digests: Iterable[str]) -> Path:
    """A name that changes with the files' content and with the method."""
    text = "\n".join([_METHOD, *sorted(set(digests))])
    name = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return folder / "keras-efsnet" / f"scans-{name}.json"
