"""Which lesions the regions of a DICOM file measure."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_efsnet.images.components import split_components
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.reading import read_frame
from keras_efsnet.prediction.measurements import measure_area, measure_lesions

pytest.importorskip("pydicom")
from dicom_files import region, write  # noqa: E402


def sized(frame_regions, boxes, shape=(60, 160)):
    """What a lesion of these boxes measures, each filled, in these regions."""
    mask = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    found = split_components(mask)[1]
    lesion = SimpleNamespace(mask=mask, probability=mask, boxes=found)
    frame = Frame(mask.astype(np.uint8), regions=frame_regions)
    lesions = measure_lesions(frame, lesion)
    sizes = [
        [entry["width_mm"], entry["height_mm"]] if "width_mm" in entry else None
        for entry in lesions
    ]
    return {**measure_area(frame, lesions), "sizes": sizes}


def regions_of(tmp_path, items):
    path = write(tmp_path / "a.dcm", np.zeros((60, 160), np.uint8), regions=items)
    return read_frame(path).regions


LEFT, RIGHT = (0, 0, 79, 59), (80, 0, 159, 59)


@pytest.mark.parametrize(
    "items",
    [
        [region(*LEFT, 0.1), region(*RIGHT, 0.2)],
        [region(*LEFT, 0.1), region(*RIGHT, 0.1)],
        [region(*LEFT, 0.1)],
        [region(*LEFT, 0.1), region(*RIGHT, 0.1, kind=2)],
        [region(*LEFT, 0.1), region(*RIGHT, 0.1, data=3)],
        [region(*LEFT, 0.1), region(*RIGHT, 0.1, units=4)],
        [region(0, 0, 159, 59, 0.1), region(*RIGHT, 0.2)],
        [region(0, 0, 159, 59, 0.1), region(60, 20, 70, 40, 0.1, data=3)],
        [region(*RIGHT, 0.2), region(0, 0, 159, 59, 0.1)],
    ],
)
def test_a_lesion_that_no_one_region_holds_has_no_size(tmp_path, items):
    size = sized(regions_of(tmp_path, items), [(60, 20, 100, 40)])
    assert size == {"lesion_area_mm2": None, "sizes": [None]}


@pytest.mark.parametrize(
    "items",
    [
        [region(0, 0, 159, 59, 0.1)],
        [region(0, 0, 159, 59, 0.1), region(*RIGHT, 0.1, data=2)],
        [region(0, 0, 159, 59, 0.1), region(101, 0, 159, 59, 0.2)],
        [region(0, 0, 159, 59, -0.1), region(0, 41, 159, 59, 0.1, kind=3)],
    ],
)
def test_a_lesion_in_one_calibration_has_its_size(tmp_path, items):
    size = sized(regions_of(tmp_path, items), [(60, 20, 100, 40)])
    # Pixels of 1 x 2 mm.
    assert size == {"lesion_area_mm2": 1600.0, "sizes": [[40.0, 40.0]]}


def test_lesions_of_two_regions_add_up(tmp_path):
    regions = regions_of(tmp_path, [region(*LEFT, 0.1), region(*RIGHT, 0.2)])
    boxes = [(10, 10, 30, 20), (90, 10, 100, 20)]
    assert sized(regions, boxes)["lesion_area_mm2"] == 200 * 2 + 100 * 8
    broken = sized(regions, [*boxes, (70, 40, 90, 50)])
    assert broken["lesion_area_mm2"] is None
    assert sorted(map(bool, broken["sizes"])) == [False, True, True]


@pytest.mark.parametrize("data", [0, 3, 4, 5, 6, 10, 13, 14, 18, None])
def test_only_tissue_and_flow_are_measured(tmp_path, data):
    item = region(0, 0, 159, 59, 0.1)
    item.RegionDataType = data
    assert sized(regions_of(tmp_path, [item]), [(60, 20, 100, 40)]) == {"sizes": [None]}


@pytest.mark.parametrize(
    "name",
    ["PhysicalDeltaX", "PhysicalDeltaY", "PhysicalUnitsXDirection", "RegionDataType"],
)
def test_a_region_without_its_calibration_measures_nothing(tmp_path, name):
    item = region(0, 0, 159, 59, 0.1)
    delattr(item, name)
    assert sized(regions_of(tmp_path, [item]), [(60, 20, 100, 40)]) == {"sizes": [None]}
