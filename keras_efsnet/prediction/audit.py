"""Will a model work on these images? What their pixels and its answers say."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from keras_efsnet.files import write_whole
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.grey import resize_image
from keras_efsnet.models.presets import find_folder, read_card
from keras_efsnet.prediction.appearance import Appearance
from keras_efsnet.prediction.predictor import Predictor, predict_frame

FEWEST = 30
"""With fewer images, shares say little: the 95 % interval of 0 of 29 ends at 12 %."""

ODD = 8
"""Number of images that are shown."""

_THUMBNAIL = (192, 192)


@dataclass(frozen=True, eq=False)
class AuditedFrame:
    """What one image adds to an audit.

    Attributes:
        name: the file, and the frame's number if it has several.
        distances: by training source, the distance from its images, as a multiple of
            the distance that 99 % of its validation images keep.
        refer: reasons to refer the prediction.
        picture: uint8 thumbnail.
    """

    name: str
    distances: Mapping[str, float]
    refer: tuple[str, ...]
    picture: np.ndarray

    @property
    def nearest(self) -> float:
        """The distance from the nearest source; 0 if no source is known."""
        return min(self.distances.values(), default=0.0)


def read_looks(model: str | Path) -> dict[str, Appearance]:
    """Reads the appearance of each training source from a model's card.

    Args:
        model: a preset, its folder, or a `.tflite` or `.keras` file with a card beside
            it.

    Returns:
        By source; empty for models without a card, or with an older one.

    Raises:
        ValueError: the card is damaged.
    """
    file = (find_folder(model) or Path(model).parent) / "card.json"
    looks = read_card(file).get("looks", {})
    try:
        return {name: Appearance.from_json(facts) for name, facts in looks.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: looks: {error}") from error


def audit_frame(
    frame: Frame, predictor: Predictor, looks: Mapping[str, Appearance]
) -> AuditedFrame:
    """Predicts a frame and compares it with the training images.

    Raises:
        ValueError: the network's input is too small for a comparison.
    """
    scan = frame.pixels if frame.scan is None else frame.pixels[frame.scan.slices]
    image = resize_image(scan, predictor.size)
    number = "" if frame.number is None else f", frame {frame.number}"
    return AuditedFrame(
        name=f"{frame.source}{number}",
        distances={
            source: look.distance(image) / look.maximum_distance
            for source, look in looks.items()
        },
        refer=predict_frame(predictor, frame).refer,
        picture=resize_image(scan, _THUMBNAIL),
    )


def summarize(frames: list[AuditedFrame]) -> dict[str, Any]:
    """Summarizes an audit as JSON values.

    Args:
        frames: at least one.

    Returns:
        `images`; `sources`: for each training source the median distance and the
        fraction of images `within` its usual distance; `referred`: the fraction
        referred for `any` reason and for each; `odd`: names and distances of the images
        farthest from every source.
    """
    reasons = Counter(reason for frame in frames for reason in frame.refer)
    reasons["any"] = sum(bool(frame.refer) for frame in frames)
    sources = {}
    for source in frames[0].distances:
        distances = np.array([frame.distances[source] for frame in frames])
        sources[source] = {
            "median_distance": round(float(np.median(distances)), 3),
            "within": round(float(np.mean(distances <= 1)), 4),
        }
    return {
        "images": len(frames),
        "sources": sources,
        "referred": {
            reason: round(count / len(frames), 4)
            for reason, count in reasons.most_common()
        },
        "odd": [
            {"image": frame.name, "distance": round(frame.nearest, 3)}
            for frame in find_odd(frames)
        ],
    }


def find_odd(frames: Iterable[AuditedFrame]) -> list[AuditedFrame]:
    """Finds the `ODD` images that are farthest from every source, farthest first."""
    return sorted(frames, key=lambda frame: -frame.nearest)[:ODD]


def draw_odd(frames: Iterable[AuditedFrame], out: Path) -> None:
    """Writes a PNG of the odd images, in the order of `find_odd`, with distances.

    Raises:
        OSError: it cannot be written.
    """
    height, width = _THUMBNAIL
    odd = find_odd(frames)
    columns = min(len(odd), 4)
    rows = -(-len(odd) // columns)
    sheet = Image.new("L", (columns * width, rows * (height + 16)))
    pen = ImageDraw.Draw(sheet)
    for at, frame in enumerate(odd):
        left, top = at % columns * width, at // columns * (height + 16)
        sheet.paste(Image.fromarray(frame.picture), (left, top))
        text = f"{at + 1}: distance {frame.nearest:.2f}"
        pen.text((left + 4, top + height + 2), text, fill=255)
    write_whole(out, sheet.save)
