"""Which files are masks by their names, and of which images.

A mask is named like its image, then `mask` after `_`, `-`, `.` or a blank, then perhaps
more that does not begin with a letter: `a_mask.png`, `a_Mask.png`, `a_mask_1.png`,
`a_mask2.png`, `a_mask (1).png`, `a_mask - Copy.png`. A file so named is never taken for
an image, even if no image has the rest of its name.
"""

import re
from collections.abc import Collection
from pathlib import Path

_NAME = re.compile(r"(?P<image>.+)[_\-. ]masks?(?![a-z]).*", re.IGNORECASE | re.DOTALL)


def is_mask_name(path: Path) -> bool:
    """Says whether a file is a mask by its name."""
    return _NAME.fullmatch(path.stem) is not None


def mask_owner(path: Path, images: Collection[str]) -> str | None:
    """Gives the image that a mask file belongs to.

    Args:
        path: the file.
        images: the stems of the images in the mask's folder.

    Returns:
        One of these stems; None where the file is no mask or its image is not there.
    """
    found = _NAME.fullmatch(path.stem)
    return found["image"] if found and found["image"] in images else None


def check_image_name(path: Path) -> None:
    """Refuses an image that is a mask by its name.

    Raises:
        ValueError: it is one.
    """
    if is_mask_name(path):
        raise ValueError(
            f"{path}: a mask by its name, which is never taken for an image; rename it."
        )
