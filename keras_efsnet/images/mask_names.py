"""Which files are masks by their names or folders, and of which images.

A mask has the word `mask` in its name, as a word of its own, and its image's name
before it or after it: `a_mask.png`, `a_Mask.png`, `a_mask_1.png`, `a_mask2.png`,
`a_mask (1).png`, `a_mask - Copy.png`, `a(mask).png`, `mask_a.png`. It may be in another
language (`WORDS`). A file so named is never taken for an image, even if no image has
the rest of its name.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

WORDS = r"masks?|masken?|masques?|maskers?|mascher[ae]|m(?:\xe1|a\u0301?)scaras?"
"""Mask in English, German, French, Dutch, Italian, and Spanish and Portuguese."""

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "scans")
MASK_FOLDERS = ("masks", "mask", "segmentations", "groundtruth", "gt", "labels")

_LETTER = r"[^\W\d_]"
_NAME = re.compile(
    rf"(?P<before>.*)(?<!{_LETTER})(?:{WORDS})(?!{_LETTER})(?P<after>.*)",
    re.IGNORECASE | re.DOTALL,
)
_NNUNET = re.compile("(tr|ts)$")  # imagesTr, labelsTs


def is_mask_name(path: Path) -> bool:
    """Says whether a file is a mask by its name."""
    found = _find(path)
    return found is not None and bool(found["before"] or found["after"])


def mask_owner(path: Path, images: Collection[str]) -> str | None:
    """Gives the image that a mask file belongs to.

    Args:
        path: the file.
        images: the stems of the images in the mask's folder.

    Returns:
        One of these stems; None where the file is no mask or its image is not there.
    """
    found = _find(path)
    names = () if found is None else _image_names(found["before"], found["after"])
    return next((name for name in names if name in images), None)


def is_mask_folder(folder: Path) -> bool:
    """Says whether a folder is named as one of masks, and one of images is beside it.

    Raises:
        OSError: the folder above may not be read.
    """
    name = _NNUNET.sub("", folder.name.casefold())
    if name not in MASK_FOLDERS:
        return False
    others = (
        _NNUNET.sub("", other.name.casefold()) for other in folder.parent.iterdir()
    )
    return any(other in IMAGE_FOLDERS for other in others)


def _find(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.stem)


def _image_names(before: str, after: str) -> Iterator[str]:
    """Yields the rest of the name, with fewer and fewer separators beside the word."""
    name, beside = (before, -1) if before else (after, 0)
    while name:
        yield name
        if name[beside].isalnum():
            return
        name = name[:-1] if before else name[1:]


def check_image_name(path: Path) -> None:
    """Refuses an image that is a mask by its name.

    Raises:
        ValueError: it is one.
    """
    if is_mask_name(path):
        raise ValueError(
            f"{path}: a mask by its name, which is never taken for an image; rename it."
        )
