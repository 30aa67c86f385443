"""Settings of the augmentation."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Augmentation:
    """How often and how strongly training images are changed.

    With the defaults, lesions on BUSI look plausible. Each strength is a maximum; each
    image draws its own. A probability of 0 switches a change off.

    Attributes:
        flip_probability: left to right only, since depth has a direction.
        warp_probability: of rotation, scale, translation, shear and elastic together.
        rotation: degrees, in both directions.
        smallest_scale, largest_scale: magnification, drawn uniformly on a log scale.
        stretch: the largest ratio of one axis's magnification to the common one.
        translation: fraction of the image's size.
        shear: horizontal and vertical, as the slope of the sheared axis.
        elastic: standard deviation of the mesh nodes, as a fraction of the size.
        tone_probability: of gain, contrast, gamma and offset together.
        tone: relative change of gain, contrast and gamma; a sixth of it for the offset.
        speckle_probability, speckle: standard deviation of multiplicative noise.
        depth_gain_probability, depth_gain: smooth brightening or darkening by depth.
        shadow_probability, shadow: darkness of a band below a random depth, below 1.
        blur_probability, blur: lost resolution, as a fraction of the pixels per side.
        erase_probability, erase: a rectangle filled with its mean grey; its longest
            side as a fraction of the size.
        caliper_probability: of caliper marks, two crosses joined by dots.
        screen_probability: of borders, rulers, text and marks of a scanner's screen,
            see `screens`; off unless set.

    Raises:
        ValueError: a value is outside its range.
    """

    flip_probability: float = 0.5
    warp_probability: float = 0.9
    rotation: float = 15.0
    smallest_scale: float = 0.6
    largest_scale: float = 1.6
    stretch: float = 1.2
    translation: float = 0.15
    shear: float = 0.15
    elastic: float = 0.01
    tone_probability: float = 0.8
    tone: float = 0.3
    speckle_probability: float = 0.5
    speckle: float = 0.25
    depth_gain_probability: float = 0.5
    depth_gain: float = 0.35
    shadow_probability: float = 0.15
    shadow: float = 0.7
    blur_probability: float = 0.2
    blur: float = 0.6
    erase_probability: float = 0.1
    erase: float = 0.25
    caliper_probability: float = 0.15
    screen_probability: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = _range(field.name)
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(
                    f"{field.name} must lie between {low:g} and {high:g}, got {value}."
                )
        if self.smallest_scale > self.largest_scale:
            raise ValueError(
                f"smallest_scale, {self.smallest_scale}, must not exceed "
                f"largest_scale, {self.largest_scale}."
            )


def _range(name: str) -> tuple[float, float]:
    if name.endswith("_scale"):
        return 0.1, 10.0
    if name == "rotation":
        return 0.0, 180.0
    if name == "stretch":
        return 1.0, 2.0
    return 0.0, 1.0 if name.endswith("_probability") else 0.9
