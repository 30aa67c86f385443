import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from keras_efsnet.images.screen_region import ScreenRegion, find_screen_region
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom

SCREENS = [  # (height, width) of the screen, (left, top, width, height) of the image
    ((480, 640), (180, 60, 380, 340)),
    ((480, 640), (30, 90, 430, 300)),
    ((600, 800), (330, 40, 400, 420)),
    ((600, 800), (120, 150, 560, 330)),
    ((768, 1024), (280, 200, 480, 450)),
    ((720, 1280), (400, 100, 700, 520)),
    ((720, 1280), (60, 50, 620, 600)),
    ((720, 1280), (620, 300, 560, 380)),
]


def _menu(size, seed):
    """A dark screen full of text and buttons, a grey bar at its right edge."""
    height, width = size
    rng = np.random.default_rng(seed)
    screen = Image.new("L", (width, height), int(rng.choice([0, 10, 30])))
    draw = ImageDraw.Draw(screen)
    letters = max(height // 40, 10)
    for y in range(4, height - letters, int(1.4 * letters)):
        words = rng.choice(["Gain 62 dB", "B-Mode", "MI 0.9", "Depth 4 cm"], 40)
        x_end = int(rng.uniform(0.3, 1) * width)
        draw.text((4, y), " ".join(words), 220, ImageFont.load_default(letters))
        draw.rectangle((x_end, y, width, y + 2 * letters), screen.getpixel((0, 0)))
    for y in range(0, height, height // 6):
        draw.rectangle((2, y, width // 6, y + 2 * letters), outline=130)
    bar = np.linspace(255, 0, height // 2).astype(np.uint8)[:, None].repeat(10, axis=1)
    screen.paste(Image.fromarray(bar), (width - 14, height // 4))
    return screen


def _paste(screen, image, box):
    """The image in its place, with a margin, a thin line around it and a scale."""
    left, top, width, height = box
    screen = screen.copy()
    draw = ImageDraw.Draw(screen)
    ground = screen.getpixel((0, 0))
    draw.rectangle((left - 12, top - 8, left + width + 12, top + height + 8), ground)
    draw.rectangle((left - 3, top - 3, left + width + 2, top + height + 2), outline=90)
    for y in range(top, top + height, height // 8):
        draw.line((left + width + 5, y, left + width + 9, y), 200)
    screen.paste(Image.fromarray(image), (left, top))
    return np.asarray(screen)


def _iou(region, box):
    left, top, width, height = box
    across = min(left + width, region.left + region.width) - max(left, region.left)
    down = min(top + height, region.top + region.height) - max(top, region.top)
    both = max(across, 0) * max(down, 0)
    return both / (width * height + region.width * region.height - both)


@pytest.fixture(scope="module")
def screens():
    """Screens with a phantom each, and where it is."""
    return [
        (_paste(_menu(size, seed), _phantom(seed, box), box), box)
        for seed, (size, box) in enumerate(SCREENS)
    ]


def _phantom(seed, box):
    return make_phantom(LABELS[seed % 3], seed + 20, (box[3], box[2])).image


def test_image_is_found_on_a_still_screen(screens):
    overlaps = [_iou(find_screen_region([screen]), box) for screen, box in screens]
    assert np.mean(np.array(overlaps) >= 0.9) >= 0.85, overlaps


def test_image_is_found_on_a_compressed_screen(screens, tmp_path):
    overlaps = []
    for screen, box in screens:
        Image.fromarray(screen).save(tmp_path / "screen.jpg", quality=80)
        compressed = np.asarray(Image.open(tmp_path / "screen.jpg"))
        overlaps.append(_iou(find_screen_region([compressed]), box))
    assert np.mean(np.array(overlaps) >= 0.9) >= 0.85, overlaps


@pytest.mark.parametrize("seed", range(6))
def test_an_image_without_a_screen_is_taken_whole(seed):
    image = make_phantom(LABELS[seed % 3], seed, (300 + 20 * seed, 400)).image
    assert _iou(find_screen_region([image]), (0, 0, 400, len(image))) >= 0.97


def _live(screen, part, seed=0, frames=4):
    """Frames whose part flickers as speckle does."""
    rng = np.random.default_rng(seed)
    result = np.stack([screen] * frames).astype(float)
    result[:, *part.slices] *= rng.normal(1, 0.15, (frames, part.height, part.width))
    return list(result.clip(0, 255).astype(np.uint8))


def test_a_live_image_wins_over_a_larger_still_one():
    screen = np.full((400, 800), 10, np.uint8)
    screen[20:380, 20:380] = make_phantom("normal", 1, (360, 360)).image
    screen[40:360, 440:760] = make_phantom("benign", 2, (320, 320)).image
    box = (440, 40, 320, 320)
    assert find_screen_region([screen]).left < 400
    assert _iou(find_screen_region(_live(screen, ScreenRegion(*box))), box) >= 0.9


def test_a_small_part_that_moves_does_not_stand_for_the_image(screens):
    screen, box = screens[0]
    part = ScreenRegion(box[0] + 100, box[1] + 100, 120, 100)
    assert _iou(find_screen_region(_live(screen, part)), box) >= 0.9


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (480, 640)])
def test_nothing_is_found_where_nothing_is(size):
    assert find_screen_region([np.zeros(size, np.uint8)] * 2) is None


def test_text_alone_is_no_image():
    assert find_screen_region([np.asarray(_menu((480, 640), 0))]) is None


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "-1,0,5,5", "0,0,0,5"])
def test_wrong_region_says_what_is_right(text):
    with pytest.raises(ValueError, match="left,top,width,height"):
        ScreenRegion.parse(text)


def test_region_must_be_inside_the_frame():
    region = ScreenRegion.parse("10, 20, 30, 40")
    region.check_inside((60, 40))
    with pytest.raises(ValueError, match="40 pixels wide and 59 high"):
        region.check_inside((59, 40))
