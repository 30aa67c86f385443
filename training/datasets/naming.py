"""Names that tell images and datasets apart in any file system.

Some file systems take `A.png` and `a.png` for one file, so no two names are equal in
small letters.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path


def name_images(
    images: Sequence[Path], least: Sequence[int] | None = None, between: str = "/"
) -> list[str]:
    """Names images by the last parts of their paths, as few as tell them apart.

    Args:
        images: the files.
        least: the parts of its path that each name has at least; 1 by default.
        between: stands between the parts.

    Returns:
        The names without ending, such as `1`, or `left/1` and `right/1`.

    Raises:
        ValueError: an image is given twice, or two in one folder have names that
            differ in their ending or in small and capital letters alone.
    """
    paths = [Path(os.path.abspath(image)) for image in images]
    for one, other in _alike(str(path.with_suffix("")) for path in paths):
        if paths[one] == paths[other]:
            raise ValueError(
                f"{images[one]}: annotated twice; keep one of the two annotations."
            )
        raise ValueError(
            f"{images[other]}: its name differs from {images[one].name} in its ending "
            "or in capital letters alone; rename one of them."
        )
    parts = [path.with_suffix("").parts for path in paths]
    return _shortest(parts, least or [1] * len(parts), between)


def name_folders(folders: Sequence[Path]) -> list[str]:
    """Names folders as `name_images` does; equal folders have equal names."""
    distinct = list(dict.fromkeys(Path(os.path.abspath(f)) for f in folders))
    names = _shortest([f.parts for f in distinct], [1] * len(distinct), "/")
    name_of = dict(zip(distinct, names, strict=True))
    return [name_of[Path(os.path.abspath(folder))] for folder in folders]


def _shortest(
    parts: Sequence[tuple[str, ...]], least: Sequence[int], between: str
) -> list[str]:
    used = list(least)
    while True:
        names = [between.join(p[-n:]) for p, n in zip(parts, used, strict=True)]
        shared = {position for pair in _alike(names) for position in pair}
        if not shared:
            return names
        for position in shared:
            used[position] += 1
            if used[position] > len(parts[position]):
                raise ValueError(
                    f"{'/'.join(parts[position])}: '{names[position]}' would name "
                    "another one too; rename the folder."
                )


def _alike(names: Iterable[str]) -> list[tuple[int, int]]:
    """Positions of names that are equal in small letters, each with the first one."""
    positions: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        positions[name.casefold()].append(position)
    return [(first, other) for first, *others in positions.values() for other in others]
