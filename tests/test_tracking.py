"""Lesions keep their numbers: the tracker on true masks with noise."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from clips import make_clip

from keras_efsnet.images.components import split_components
from keras_efsnet.prediction.tracking import GAP, SEEN, SEEN_BESIDE, Tracker

KEPT = 0.95
"""Smallest part of a lesion's frames in which it must have its one number."""


def number_clip(masks, tracker=None):
    """Boxes and tracks of each frame."""
    tracker = tracker or Tracker()
    found = []
    for frame, mask in enumerate(masks):
        tracker.end_tracks(frame)
        boxes = split_components(mask)[1]
        found.append((boxes, tracker.update(frame, boxes)))
    return found


def numbers_of(found):
    return [[track.number for track in tracks] for _, tracks in found]


def numbers_by_lesion(found, truth):
    """For each true lesion, how often each number was given to its largest component.

    Frames in which a component holds two lesions are left out.
    """
    counts = defaultdict(Counter)
    for (boxes, tracks), labels in zip(found, truth, strict=True):
        largest = {}
        for lesion in np.unique(labels)[1:].tolist():
            parts = [
                np.count_nonzero(labels[top:bottom, left:right] == lesion)
                for left, top, right, bottom in boxes
            ]
            if any(parts):
                largest[lesion] = int(np.argmax(parts))
        if len(set(largest.values())) == len(largest):
            for lesion, index in largest.items():
                counts[lesion][tracks[index].number] += 1
    return counts


def check_identity(found, truth, lesions):
    """Each lesion has a number of its own in nearly all of its frames, and no other."""
    counts = numbers_by_lesion(found, truth)
    assert sorted(counts) == list(range(1, lesions + 1))
    given = {}
    for lesion, numbers in counts.items():
        number, frames = numbers.most_common(1)[0]
        assert number is not None
        assert frames >= KEPT * numbers.total(), (lesion, numbers)
        given[lesion] = number
    every = {track.number for _, tracks in found for track in tracks} - {None}
    assert every == set(given.values())  # no doubled lesion
    assert len(every) == lesions


def with_noise(masks, seed=0):
    """Shaky borders and, in some frames, a speck or a cut through a lesion."""
    rng = np.random.default_rng(seed)
    noisy = []
    for mask in masks:
        mask = np.pad(mask, 8)  # nothing comes in again at the other side
        for is_growing in (True, False):
            for _ in range(rng.integers(0, 4)):
                moved = np.roll(mask, rng.choice([-1, 1]), rng.integers(2))
                mask = mask | moved if is_growing else mask & moved
        mask = mask[8:-8, 8:-8].copy()
        if rng.random() < 0.15 and mask.any():
            mask[:, rng.choice(np.flatnonzero(mask.any(axis=0)))] = False
        if rng.random() < 0.1:
            y, x = rng.integers(0, np.array(mask.shape) - 5)
            mask[y : y + 5, x : x + 5] = True
        noisy.append(mask)
    return np.stack(noisy)


def shifting(frame):
    return 100 + 3 * frame, 130, 0.6


def growing(frame):
    return 200, 150, 0.25 + frame / 70


def leaving(frame):
    return 150 + 6 * frame, 100, 0.6


def from_left(frame):
    return 40 + 5 * frame, 120, 0.55


def from_right(frame):
    return 360 - 5 * frame, 150, 0.5


def blinking(frame):
    there = frame % 15 not in (5, 6, 7, 12)
    return (90 + 3 * frame, 180, 0.6) if there else None


def still(frame):
    return 280, 60, 0.4


CLIPS = {
    "shifting": [shifting],
    "growing": [growing],
    "leaving": [leaving],
    "blinking out": [blinking],
    "two": [from_left, lambda frame: (200, 240, 0.4)],
    "blinking beside another": [blinking, still],
    "crossing": [from_left, from_right],
}


@pytest.fixture(scope="module", params=CLIPS)
def clip(request):
    return make_clip(*CLIPS[request.param])


def test_identity_on_true_masks(clip):
    check_identity(number_clip(clip.masks), clip.truth, int(clip.truth.max()))


@pytest.mark.parametrize("seed", range(5))
def test_identity_on_noisy_masks(clip, seed):
    found = number_clip(with_noise(clip.masks, seed))
    check_identity(found, clip.truth, int(clip.truth.max()))


def test_no_number_twice_in_a_frame_and_the_same_numbers_again(clip):
    masks = with_noise(clip.masks, seed=9)
    numbers = numbers_of(number_clip(masks))
    for given in numbers:
        given = [number for number in given if number is not None]
        assert len(given) == len(set(given))
    assert numbers_of(number_clip(masks)) == numbers


def square(x, y=50, size=20):
    return (x, y, x + size, y + size)


def follow(*frames):
    """The numbers in each frame, as known at the end; frames are lists of boxes."""
    tracker, found = Tracker(), []
    for frame, boxes in enumerate(frames):
        tracker.end_tracks(frame)
        found.append(tracker.update(frame, boxes))
    return [[track.number for track in tracks] for tracks in found]


@pytest.mark.parametrize("pause", [1, GAP])
def test_a_gap_is_bridged(pause):
    seen = [[square(50)]] * 5
    assert follow(*seen, *[[]] * pause, *seen) == [[1]] * 5 + [[]] * pause + [[1]] * 5


def test_a_lesion_that_moves_on_unseen_is_known_again():
    boxes = [[square(50 + 6 * i)] for i in range(30)]
    boxes[12:21] = [[]] * 9
    assert {number for numbers in follow(*boxes) for number in numbers} == {1}


def test_a_lesion_that_left_and_one_that_comes_elsewhere_are_two():
    first, second = [[square(50)]] * 5, [[square(200, 150)]] * 5
    assert follow(*first, *[[]] * 20, *second)[-1] == [2]
    assert follow(*first, *second)[-1] == [2]


def test_a_lesion_that_left_for_longer_than_the_gap_is_another_one():
    seen = [[square(50)]] * 5
    assert follow(*seen, *[[]] * (GAP + 1), *seen)[-1] == [2]


def test_numbers_of_frames_that_were_dropped_count():
    tracker = Tracker()
    for frame in (0, 3, 6, 9):
        (track,) = tracker.update(frame, [square(50 + 5 * frame)])
    assert (track.number, track.frames, track.first, track.last) == (1, 4, 0, 9)
    (later,) = tracker.update(15, [square(125)])
    assert later is track


def test_a_lesion_needs_some_frames_for_a_number_and_then_has_it_in_all():
    assert follow(*[[square(50)]] * (SEEN - 1)) == [[None]] * (SEEN - 1)
    assert follow(*[[square(50)]] * SEEN) == [[1]] * SEEN


def test_a_part_that_falls_off_for_some_frames_has_no_number():
    whole, parts = [square(50)], [(50, 50, 62, 70), (63, 50, 70, 70)]
    frames = [[whole] * 5, [parts] * (SEEN_BESIDE - 1), [whole] * 5]
    numbers = follow(*(boxes for part in frames for boxes in part))
    assert numbers[5:-5] == [[1, None]] * (SEEN_BESIDE - 1)
    assert numbers[:5] == numbers[-5:] == [[1]] * 5
    stays = follow(*[whole] * 5, *[parts] * SEEN_BESIDE)
    assert stays[5:] == [[1, 2]] * SEEN_BESIDE


def test_lesions_that_grow_together_for_good_are_one():
    both, one = [square(50), square(75)], [(50, 50, 95, 70)]
    numbers = follow(*[both] * 30, *[one] * 100)
    assert numbers[30:] == [numbers[30]] * 100


@pytest.mark.parametrize("seed", range(20))
def test_any_boxes_have_numbers_once_in_a_frame_and_the_same_again(seed):
    def clip():
        rng = np.random.default_rng(seed)
        for _ in range(40):
            corners = rng.integers(0, 100, (rng.integers(0, 8), 2))
            sizes = rng.integers(1, 60, corners.shape)
            yield [(*c, *(c + s)) for c, s in zip(corners, sizes, strict=True)]

    numbers = follow(*clip())
    for given in numbers:
        given = [number for number in given if number is not None]
        assert len(given) == len(set(given))
    assert follow(*clip()) == numbers
    every = {number for given in numbers for number in given} - {None}
    assert every == set(range(1, len(every) + 1))
