"""Clips from end to end: numbers, rows and best frames of lesions."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from clips import make_clip
from PIL import Image
from test_tracking import CLIPS, check_identity

from keras_efsnet.cli import main
from keras_efsnet.images.reading import read_frames
from keras_efsnet.live.sources import open_dicom
from keras_efsnet.prediction.cine import CLEAR, MOST_LESIONS, Cine
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.measurements import describe_size

pydicom = pytest.importorskip("pydicom")
from dicom_files import dataset, region, save  # noqa: E402
from pydicom import uid  # noqa: E402
from pydicom.encaps import encapsulate, generate_frames  # noqa: E402

SIZE = (60, 80)


@pytest.fixture
def network(monkeypatch, predictor):
    """What the commands load: dark is lesion."""
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *args: predictor
    )
    return predictor


def disc(x, y=30, radius=8):
    """uint8 (60, 80), bright with a dark disc; x None is without."""
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    inside = x is not None and np.hypot(rows - y, columns - (x or 0)) < radius
    return np.where(inside, 10, 240).astype(np.uint8)


def moving(count=12):
    """A disc that grows up to the 8th frame while it moves to the right."""
    radii = [6 + min(i, 7) - max(i - 7, 0) for i in range(count)]
    return np.stack([disc(20 + 3 * i, radius=r) for i, r in enumerate(radii)])


def write_cine(path, frames, **tags):
    made = dataset(frames)
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return save(made, path)


def predict(out, *paths):
    assert main(["predict", *map(str, paths), "--out", str(out)]) == 0
    return read(out, "predictions.json"), read(out, "cine.json")


def read(folder, name):
    file = folder / name
    return json.loads(file.read_text()) if file.exists() else None


def test_a_multi_frame_file_has_numbers_rows_and_pictures(network, tmp_path):
    path = write_cine(tmp_path / "cine.dcm", moving())
    out = tmp_path / "out"
    records, (row,) = predict(out, path)
    assert [lesion["track"] for r in records for lesion in r["lesions"]] == [1] * 12
    best = max(records, key=lambda record: record["lesion_area_px"])
    assert (row["path"], row["track"], row["track_file"]) == (
        *(str(path), 1, "cine_track1.png"),
    )
    assert (row["frames_seen"], row["first_frame"], row["last_frame"]) == (12, 1, 12)
    assert row["best_frame"] == best["frame"] == 8
    longest = "longest_diameter_px"
    assert row[longest] == best["lesions"][0][longest] == pytest.approx(26, abs=1.5)
    assert (row["class"], row["probabilities"]["benign"]) == ("benign", 0.7)
    picture = np.asarray(Image.open(out / row["track_file"]))
    overlay = np.asarray(Image.open(out / best["overlay_file"]))
    assert picture.shape == overlay.shape
    assert 0 < (picture != overlay).any(axis=2).mean() < 0.1  # the number
    with (out / "cine.csv").open() as file:
        (cells,) = csv.DictReader(file)
    assert cells["path"] == str(path)
    assert (cells["best_frame"], cells["p_benign"]) == ("8", "0.7")


def test_the_mean_probability_is_that_of_the_lesions_own_pixels(network, tmp_path):
    two = np.minimum(disc(20), np.where(disc(60, 20) < 100, 90, 255))
    Image.fromarray(two.astype(np.uint8)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path / "a.png"), "--save-probabilities"]
    assert main([*arguments, "--out", str(out)]) == 0
    (record,) = read(out, "predictions.json")
    mask, probability = (
        np.asarray(Image.open(out / record[f"{name}_file"]))
        for name in ("mask", "probability")
    )
    for lesion in record["lesions"]:
        left, top, right, bottom = lesion["box"]
        inside = mask[top:bottom, left:right] > 0
        mean = probability[top:bottom, left:right][inside].mean() / 65535
        assert lesion["mean_probability"] == pytest.approx(mean, abs=6e-4)
    means = sorted(lesion["mean_probability"] for lesion in record["lesions"])
    assert means[0] < 0.7 < 0.85 < means[1]


def test_sizes_of_a_calibrated_file_are_millimetres(network, tmp_path):
    made = dataset(moving(), regions=[region(0, 0, 79, 59, 0.02)])
    _, (row,) = predict(tmp_path / "out", save(made, tmp_path / "a.dcm"))
    assert "longest_diameter_px" not in row
    # A disc 26 pixels high, of 0.4 mm each, and 26 wide, of 0.2 mm each.
    assert row["longest_diameter_mm"] == pytest.approx(10.4, abs=0.6)
    assert row["perpendicular_diameter_mm"] == pytest.approx(5.2, abs=0.4)


def test_a_later_run_removes_the_pictures(network, tmp_path):
    path = write_cine(tmp_path / "a.dcm", moving())
    out = tmp_path / "out"
    predict(out, path)
    assert (out / "a_track1.png").exists()
    _, rows = predict(out, write_cine(tmp_path / "b.dcm", moving()))
    assert [row["track_file"] for row in rows] == ["b_track1.png"]
    assert sorted(file.name for file in out.glob("*_track*")) == ["b_track1.png"]
    Image.fromarray(disc(30)).save(tmp_path / "c.png")
    records, rows = predict(out, tmp_path / "c.png")
    assert rows == []
    assert not list(out.glob("*_track*"))
    assert "track" not in records[0]["lesions"][0]


def test_ctrl_c_writes_what_is_known(network, tmp_path, monkeypatch):
    run, calls = type(network).__call__, iter(range(100))

    def stop(self, images):
        if next(calls) == 6:
            raise KeyboardInterrupt
        return run(self, images)

    monkeypatch.setattr(type(network), "__call__", stop)
    out = tmp_path / "out"
    path = write_cine(tmp_path / "a.dcm", moving())
    assert main(["predict", str(path), "--out", str(out)]) == 130
    done = len(read(out, "predictions.json"))
    assert 6 <= done < 12  # those that run at this moment are finished
    (row,) = read(out, "cine.json")
    assert row["frames_seen"] == done
    assert (out / row["track_file"]).exists()


def test_pages_and_single_images_are_no_cine(network, tmp_path):
    pages = [Image.fromarray(frame) for frame in moving()]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    still = write_cine(tmp_path / "still.dcm", disc(30))
    records, rows = predict(tmp_path / "out", tmp_path / "pages.tif", still)
    assert len(records) == 13
    assert rows is None
    assert not [x for r in records for x in r["lesions"] if "track" in x]


def test_a_damaged_frame_is_left_out(network, tmp_path, capsys):
    made = dataset(moving())
    made.compress(uid.RLELossless)
    codes = list(generate_frames(made.PixelData, number_of_frames=12))
    codes[4] = bytes(64)
    made.PixelData = encapsulate(codes)
    path = save(made, tmp_path / "a.dcm")
    out = tmp_path / "out"
    assert main(["predict", str(path), "--out", str(out)]) == 1
    (row,) = read(out, "cine.json")
    assert (row["track"], row["frames_seen"], row["last_frame"]) == (1, 11, 12)
    capsys.readouterr()
    assert stream(path) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].startswith("11 frames, ")
    assert captured.err.startswith(f"error: {path}: damaged DICOM file")
    assert captured.err.endswith("(frame 5 of 12)\n")


def lesion(x, longest=10.0, mean=0.99, unit="px", size=10):
    """An entry of `lesions`, as far as a clip needs it."""
    return {
        "box": [x, 10, x + size, 10 + size],
        f"longest_diameter_{unit}": longest,
        f"perpendicular_diameter_{unit}": longest / 2,
        "mean_probability": mean,
    }


def follow(*frames, probabilities=None):
    """The rows of a clip, whose frames are lists of lesions."""
    cine = Cine("clip", None)
    for number, lesions in enumerate(frames):
        given = probabilities[number] if probabilities else {"benign": 1.0}
        cine.add(number, lesions, given, lambda: None)
    return cine.finish()


def test_the_best_frame_has_the_largest_clear_diameter():
    sizes = [(10, 0.99), (14, 0.97), (20, 0.7), (14, 0.99), (12, 0.99)]
    (row,) = follow(*([lesion(10, *size)] for size in sizes))
    assert (row["best_frame"], row["longest_diameter_px"]) == (1, 14)
    assert row["mean_probability"] == 0.97 > CLEAR


def test_without_a_clear_frame_the_clearest_is_taken():
    (row,) = follow(*([lesion(10, 10 + i, 0.7 + 0.1 * (i == 1))] for i in range(4)))
    assert (row["best_frame"], row["longest_diameter_px"]) == (1, 11)


def test_millimetres_come_first():
    units = ["px", "mm", "mm", "px"]
    (row,) = follow(*([lesion(10, 10 - i, 0.9, u)] for i, u in enumerate(units)))
    assert (row["best_frame"], row["longest_diameter_mm"]) == (1, 9)


def test_a_lesion_that_is_joined_to_another_is_not_measured():
    apart = [[lesion(10 + 4 * i), lesion(90 - 4 * i)] for i in range(8)]
    joined = [[lesion(42, longest=40.0, size=30)]] * 3
    rows = follow(*apart, *joined)
    assert [row["longest_diameter_px"] for row in rows] == [10, 10]


def test_class_over_the_clip_is_the_mean_of_the_frames_where_it_is_seen():
    malignant = [0.9, 0.8, 0.1, 0.9, 1.0]
    given = [{"benign": 1 - p, "malignant": p} for p in malignant]
    frames = [[lesion(10)]] * 4 + [[]]
    (row,) = follow(*frames, probabilities=given)
    assert row["class"] == "malignant"
    assert row["probabilities"] == {"benign": 0.325, "malignant": 0.675}


def test_memory_is_bounded_and_the_longest_seen_are_kept(tmp_path):
    picture = Image.new("RGB", (40, 40))
    cine = Cine("camera 0", tmp_path / "best", tmp_path)
    frame, lesions = 0, MOST_LESIONS + 20
    for number in range(lesions):
        for _ in range(6 if number % 10 == 0 else 3):
            cine.add(frame, [lesion(10)], {"benign": 1.0}, lambda: picture)
            frame += 1
        frame += 30
        assert len(cine._summaries) == len(cine._tracker.tracks) == 1
    rows = cine.finish()
    assert (len(rows), cine.left_out) == (MOST_LESIONS, 20)
    assert sum(row["frames_seen"] == 6 for row in rows) == lesions / 10
    files = sorted(row["track_file"] for row in rows)
    assert sorted(file.name for file in tmp_path.iterdir()) == files


def stream(*arguments):
    return main(["stream", *map(str, arguments)])


def test_a_dicom_file_streams_with_its_rate_and_in_millimetres(
    network, tmp_path, capsys
):
    cv2 = pytest.importorskip("cv2")
    made = dataset(moving(), regions=[region(0, 0, 79, 59, 0.02)])
    made.FrameTime = 50.0
    path = save(made, tmp_path / "cine")  # known by its content
    out = tmp_path / "out" / "overlay.webm"
    assert stream(path, "--out", out, "--roi", "0,0,80,60") == 0
    records, (same,) = predict(tmp_path / "predicted", path)
    (row,) = read(out.parent, "overlay_cine.json")
    assert row["longest_diameter_mm"] == same["longest_diameter_mm"]
    assert row["best_frame"] == same["best_frame"] - 1 == 7  # from 0 as in videos
    assert sorted(file.name for file in out.parent.iterdir()) == [
        *("overlay.webm", "overlay_cine.csv", "overlay_cine.json"),
        "overlay_track1.png",
    ]
    assert describe_size(row) in capsys.readouterr().out
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FPS) == 20
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") == b"VP90"
    capture.release()


@pytest.mark.parametrize(
    ("tags", "fps"),
    [
        ({"FrameTime": 40.0}, 25),
        ({"CineRate": 12}, 12),
        ({"RecommendedDisplayFrameRate": 30}, 30),
        ({"FrameTime": 0.0, "CineRate": 15}, 15),
        ({"FrameTime": 0.01}, 25),  # no scanner's
        ({}, 25),
    ],
)
def test_frame_rates_of_dicom_files(tags, fps, tmp_path):
    path = write_cine(tmp_path / "a.dcm", moving(3), **tags)
    assert open_dicom(path).fps == fps


def test_an_unusable_frame_rate_is_no_reason_to_refuse_an_image(tmp_path):
    made = dataset(moving(3))
    made.add_new("FrameTime", "DS", "40")
    path = save(made, tmp_path / "a.dcm")
    content = path.read_bytes()
    assert content.count(b"DS\x02\x0040") == 1
    path.write_bytes(content.replace(b"DS\x02\x0040", b"DS\x02\x00a\\"))
    assert [frame.fps for frame in read_frames(path)] == [None] * 3


def test_a_still_dicom_file_is_no_clip(network, tmp_path, capsys):
    path = write_cine(tmp_path / "still.dcm", disc(30))
    assert stream(path) == 2
    line = f"error: {path}: one image, not a clip; use efsnet predict.\n"
    assert capsys.readouterr().err == line


def test_predict_names_stream_for_a_video(network, tmp_path, capsys):
    path = tmp_path / "my clip.mp4"
    path.write_bytes(b"video")
    assert main(["predict", str(path), "--out", str(tmp_path / "out")]) == 2
    line = f"error: {path}: a video; predict it by: efsnet stream '{path}'\n"
    assert capsys.readouterr().err == line


def write_folder(path, frames):
    path.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{number}.png")
    return path


def test_a_stream_writes_numbers_rows_and_pictures_into_its_folder(
    network, tmp_path, capsys
):
    source, out = write_folder(tmp_path / "in", moving()), tmp_path / "out"
    assert stream(source, "--out", out) == 0
    (row,) = read(out, "cine.json")
    assert (row["path"], row["best_frame"]) == (str(source), 7)
    assert row["track_file"] == "best_track1.png"
    assert (out / "cine.csv").exists()
    assert " 7 " in capsys.readouterr().out
    first, last = (
        np.asarray(Image.open(out / f"frame_{number:06}.png")) for number in (1, 11)
    )
    beside = (slice(24, 36), slice(62, 80))  # right of the disc in the last frame
    assert (last[beside] != 240).any()
    assert (first[beside] == 240).all()


def test_a_later_stream_replaces_rows_and_pictures(network, tmp_path):
    out = tmp_path / "out"
    two = [np.minimum(disc(20), disc(60, 15)) for _ in range(5)]
    assert stream(write_folder(tmp_path / "two", two), "--out", out) == 0
    assert len(read(out, "cine.json")) == 2
    assert stream(write_folder(tmp_path / "one", moving()), "--out", out) == 0
    assert len(read(out, "cine.json")) == 1
    assert [file.name for file in out.glob("*_track*")] == ["best_track1.png"]


def test_ctrl_c_in_a_stream_writes_the_table_and_an_error_does_not(
    network, tmp_path, monkeypatch, capsys
):
    run = type(network).__call__
    source = write_folder(tmp_path / "in", moving())
    for error, code in ((KeyboardInterrupt, 130), (ValueError("broken"), 2)):
        calls = iter(range(100))

        def stop(self, images, calls=calls, error=error):
            if next(calls) == 6:
                raise error
            return run(self, images)

        monkeypatch.setattr(type(network), "__call__", stop)
        out = tmp_path / str(code)
        assert stream(source, "--out", out) == code
        assert (read(out, "cine.json") is not None) == (code == 130)
        assert "first-last" in capsys.readouterr().out
        hidden = [file for file in out.iterdir() if file.name.startswith(".")]
        assert not hidden


@pytest.fixture(scope="module")
def breast():
    pytest.importorskip("ai_edge_litert")
    return load_predictor("efsnet_base_breast", 1)


SLOW = pytest.mark.slow
FOUND = [
    "crossing",
    *(pytest.param(name, marks=SLOW) for name in ("shifting", "growing", "leaving")),
    pytest.param("blinking out", marks=SLOW),
]
"""Clips whose lesions the network finds. In the other two it misses one lesion or
breaks it into parts."""


@pytest.mark.parametrize("name", FOUND)
def test_identity_with_the_shipped_network(name, breast, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *args: breast
    )
    clip = make_clip(*CLIPS[name])
    path = write_cine(tmp_path / "a.dcm", clip.frames)
    records, rows = predict(tmp_path / "out", path)
    found = [
        (
            [lesion["box"] for lesion in record["lesions"]],
            [SimpleNamespace(number=lesion["track"]) for lesion in record["lesions"]],
        )
        for record in records
    ]
    check_identity(found, clip.truth, int(clip.truth.max()))
    assert len(rows) == clip.truth.max()
    assert all((tmp_path / "out" / row["track_file"]).exists() for row in rows)
