import os
import struct
import sys
import time

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.screen_region import ScreenRegion
from keras_efsnet.live import stream
from keras_efsnet.live.camera import CameraFrames
from keras_efsnet.live.containers import promised_frames
from keras_efsnet.live.recording import open_recording
from keras_efsnet.live.sources import LiveFrame, open_folder, open_video
from keras_efsnet.prediction.caption import bar_height
from keras_efsnet.prediction.overlay import draw_overlay
from keras_efsnet.prediction.predictor import predict_frame

FRAMES = 10
REGION = ScreenRegion(60, 20, 80, 60)


@pytest.fixture
def screen(scan):
    """uint8 (100, 160): black around the scan at `REGION`."""
    frame = np.zeros((100, 160), np.uint8)
    frame[REGION.slices] = scan
    return frame


@pytest.fixture
def folder(tmp_path, screen):
    """Ten frames named 1.png to 10.png."""
    path = tmp_path / "frames"
    path.mkdir()
    for number in range(1, FRAMES + 1):
        Image.fromarray(screen).save(path / f"{number}.png")
    return path


@pytest.fixture
def make_video(tmp_path, screen):
    """Writes a video of ten frames and returns its path."""
    cv2 = pytest.importorskip("cv2")

    def make(name="video.avi", codec="MJPG", fps=20):
        path = tmp_path / name
        codec = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(path), codec, fps, screen.shape[::-1])
        for _ in range(FRAMES):
            writer.write(cv2.cvtColor(screen, cv2.COLOR_GRAY2BGR))
        writer.release()
        return path

    return make


@pytest.fixture
def video(make_video):
    """An .avi of ten frames, 20 a second."""
    return make_video()


@pytest.fixture
def network(monkeypatch, predictor):
    """What the command loads as its model."""
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *args: predictor
    )
    return predictor


@pytest.fixture
def slow(monkeypatch, network):
    """Makes the network take 30 ms."""
    run = type(network).__call__

    def wait(self, images):
        time.sleep(0.03)
        return run(self, images)

    monkeypatch.setattr(type(network), "__call__", wait)
    return network


def _run(*arguments):
    return main(["stream", *map(str, arguments)])


def _read(path):
    """A video's frames a second and frames, uint8 RGB."""
    cv2 = pytest.importorskip("cv2")
    capture = cv2.VideoCapture(str(path))
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while (found := capture.read())[0]:
        frames.append(found[1][..., ::-1])
    capture.release()
    return fps, frames


def _frames(out):
    return sorted(file.name for file in out.glob("frame_*"))


def test_folder_plays_in_natural_order(tmp_path):
    for number in (10, 9, 1, 2):
        pixels = np.full((8, 8), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"frame {number}.png")
    frames = list(open_folder(tmp_path))
    assert [int(frame.grey[0, 0]) for frame in frames] == [1, 2, 9, 10]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]


def test_masks_are_no_frames(folder, caplog):
    for name in ("1_Mask", "1_mask (1)", "1_mask - Copy", "1_mask2"):
        Image.new("L", (160, 100)).save(folder / f"{name}.png")
    with caplog.at_level("INFO"):
        assert len(list(open_folder(folder))) == FRAMES
    assert caplog.messages == ["4 left out: masks by their names"]


def test_a_folder_of_masks_alone_is_refused(tmp_path):
    Image.new("L", (160, 100)).save(tmp_path / "1_mask.png")
    with pytest.raises(ValueError, match="no image in this folder but masks by their"):
        open_folder(tmp_path)


def test_video_plays_every_frame_as_grey(video, screen):
    source = open_video(video)
    assert source.fps == 20
    frames = [frame.grey for frame in source]
    assert len(frames) == FRAMES
    assert np.abs(frames[-1].astype(int) - screen).mean() < 3


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.webm"])
def test_overlay_video_keeps_frames_size_and_time(
    name, network, video, tmp_path, capsys
):
    out = tmp_path / name
    assert _run(video, "--out", out, "--roi", REGION) == 0
    fps, frames = _read(out)
    assert (fps, len(frames)) == (20, FRAMES)
    assert frames[0].shape == (100 + bar_height(160), 160, 3)
    yellow = (frames[5][..., 0] > 150) & (frames[5][..., 2] < 110)
    assert yellow[REGION.slices].any()
    assert not yellow[:100, :58].any()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Region of interest: 60,20,80,60 (given)"
    assert lines[1].startswith("10 frames, 0 dropped, 0 referred, ")


def test_overlay_folder_is_named_by_frame_number(network, folder, tmp_path):
    out = tmp_path / "out"
    assert _run(folder, "--out", out, "--frames", 3) == 0
    assert _frames(out) == ["frame_000000.png", "frame_000001.png", "frame_000002.png"]


def test_a_shorter_run_leaves_no_frames_of_the_one_before(network, folder, tmp_path):
    out = tmp_path / "out"
    assert _run(folder, "--out", out) == 0
    (out / "frame_a.png").touch()
    assert _run(folder, "--out", out, "--frames", 2) == 0
    assert _frames(out) == ["frame_000000.png", "frame_000001.png", "frame_a.png"]


def test_frames_that_no_run_wrote_stay(network, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "frame_000007.png").touch()
    assert _run(folder, "--out", out, "--frames", 1) == 0
    assert _frames(out) == ["frame_000000.png", "frame_000007.png"]


def test_a_folder_needs_no_opencv(network, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert _run(folder, "--out", tmp_path / "out") == 0
    assert len(_frames(tmp_path / "out")) == FRAMES


def test_prediction_is_in_the_frames_pixels_and_only_in_the_region(
    predictor, scan, screen
):
    part = predict_frame(predictor, Frame(scan))
    full = predict_frame(predictor, Frame(screen, scan=REGION))
    assert full.mask.shape == full.probability.shape == screen.shape
    assert np.array_equal(full.mask[REGION.slices], part.mask)
    assert full.mask.sum() == part.mask.sum() == full.lesion_area_px > 0
    assert full.lesion_fraction == pytest.approx(full.mask.mean())
    left, top, right, bottom = full.boxes[0]
    assert full.mask[top:bottom, left:right].sum() == full.lesion_area_px


def test_narrow_frames_keep_one_size_whatever_the_caption(predictor):
    grey = np.full((400, 60), 90, np.uint8)
    region = ScreenRegion.whole(grey.shape)
    frame = Frame(grey, scan=region)
    prediction = predict_frame(predictor, frame)
    assert draw_overlay(frame, prediction).size == (60, 400 + bar_height(60))


def test_pace_drops_late_frames_and_counts_them(slow, folder, capsys):
    assert _run(folder, "--fps", 100) == 0
    words = capsys.readouterr().out.splitlines()[1].split()
    done, dropped = int(words[0]), int(words[2])
    assert done + dropped == FRAMES
    assert 1 <= done < FRAMES


def test_video_repeats_the_frame_before_for_dropped_ones(tmp_path):
    pytest.importorskip("cv2")
    with open_recording(tmp_path / "out.avi", 20, "source") as write:
        for number, grey in ((0, 0), (4, 255)):
            write(Image.new("RGB", (33, 32), (grey,) * 3), number)
    frames = _read(tmp_path / "out.avi")[1]
    assert [int(frame[0, 0, 0]) > 128 for frame in frames] == [0, 0, 0, 0, 1]


class FakeCapture:
    """A camera that gives 60 frames, one every 5 ms."""

    def __init__(self):
        self.number = 0
        self.released = False

    def get(self, name):
        return 0.0

    def read(self):
        time.sleep(0.005)
        self.number += 1
        return self.number <= 60, np.full((8, 8, 3), self.number, np.uint8)

    def release(self):
        self.released = True


def test_camera_gives_the_newest_frame_and_counts_the_others():
    pytest.importorskip("cv2")
    capture = FakeCapture()
    seen = []
    with CameraFrames(capture, "camera 0") as camera:
        for frame in camera:
            assert time.perf_counter() - frame.arrival < 0.5
            seen.append(frame.number)
            assert frame.grey[0, 0] == frame.number + 1
            time.sleep(0.03)
    assert 1 < len(seen) < 40
    assert camera.dropped == seen[-1] - seen[0] + 1 - len(seen) > 0
    assert camera.problems == ["camera 0: it stopped giving frames."]
    assert capture.released


def test_smoothing_is_exponential(predictor):
    images = [np.full((1, 64, 64, 1), 255 * white, np.float32) for white in (1, 0, 0)]
    smoothed = stream.Smoothed(predictor, 0.75)
    answers = [smoothed(image)["mask"].mean() for image in images]
    assert answers == pytest.approx([0, 0.25, 0.4375])
    plain = stream.Smoothed(predictor, 0)
    assert [plain(image)["mask"].mean() for image in images] == [0, 1, 1]


def test_figures_of_the_report(monkeypatch):
    meter = stream.Meter()
    assert meter.report(0).frames == 0
    grey = np.zeros((1, 1), np.uint8)
    for number, (arrival, done) in enumerate([(1, 1.01), (2, 2.01), (3, 3.03)]):
        monkeypatch.setattr(stream.time, "perf_counter", lambda done=done: done)
        meter.add(LiveFrame(grey, number, arrival), referred=number > 0)
    report = meter.report(7)
    assert (report.frames, report.referred, report.dropped) == (3, 2, 7)
    assert report.fps == pytest.approx(3 / 2.03)
    assert report.latency_ms == pytest.approx(10)
    assert report.latency_p95_ms == pytest.approx(28)


def _fail_at_the_third(monkeypatch, network, error):
    run = type(network).__call__
    calls = iter([None, None, error])

    def fail(self, images):
        if failure := next(calls):
            raise failure
        return run(self, images)

    monkeypatch.setattr(type(network), "__call__", fail)


def test_ctrl_c_completes_the_video(network, video, tmp_path, capsys, monkeypatch):
    _fail_at_the_third(monkeypatch, network, KeyboardInterrupt)
    out = tmp_path / "out" / "overlay.mp4"
    assert _run(video, "--out", out) == 130
    captured = capsys.readouterr()
    assert captured.err == "interrupted\n"
    assert captured.out.splitlines()[1].startswith("2 frames, ")
    assert len(_read(out)[1]) == 2
    assert not [file for file in out.parent.iterdir() if file.name.startswith(".")]


def test_ctrl_c_tells_what_was_lost_so_far(network, video, capsys, monkeypatch):
    _damage(video, 1)
    _fail_at_the_third(monkeypatch, network, KeyboardInterrupt)
    assert _run(video) == 130
    lost, interrupted = capsys.readouterr().err.splitlines()
    assert ": 1 of 4 frames cannot be decoded: 1 (counted from 0)" in lost
    assert interrupted == "interrupted"


def test_an_error_leaves_no_video(network, video, tmp_path, capsys, monkeypatch):
    _fail_at_the_third(monkeypatch, network, ValueError("broken network"))
    out = tmp_path / "out" / "overlay.mp4"
    assert _run(video, "--out", out) == 2
    assert capsys.readouterr().err == "error: broken network\n"
    assert list(out.parent.iterdir()) == []


def test_a_bad_frame_is_reported_and_the_rest_go_on(network, folder, tmp_path, capsys):
    (folder / "4.png").write_text("no image")
    Image.new("L", (30, 30)).save(folder / "5.png")
    out = tmp_path / "out"
    assert _run(folder, "--out", out) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {folder / '4.png'}: not an image")
    assert second == (
        f"error: {folder / '5.png'}: it is 30 x 30 pixels, but the first frame, 1.png, "
        "is 160 x 100; give frames of one size."
    )
    assert len(_frames(out)) == FRAMES - 2


def _places(content):
    """Start and end of each frame in an .avi from OpenCV."""
    end = content.index(b"movi") + 4
    for _ in range(FRAMES):
        (size,) = struct.unpack_from("<I", content, end + 4)
        yield slice(end + 8, end + 8 + size)
        end += 8 + size + size % 2


def _damage(path, *numbers):
    """Fills frames of an .avi with zeros."""
    content = bytearray(path.read_bytes())
    for number, place in enumerate(list(_places(content))):
        if number in numbers:
            content[place] = bytes(place.stop - place.start)
    path.write_bytes(content)


def _set_number(path, after, offset, value, order="<I"):
    """Writes a number into a file, so far after the first occurrence of a name."""
    content = bytearray(path.read_bytes())
    struct.pack_into(order, content, content.index(after) + offset, value)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("holes", "told"),
    [
        ([3], "1 of 10 frames cannot be decoded: 3 (counted from 0)"),
        ([0], "1 of 10 frames cannot be decoded: 0 (counted from 0)"),
        ([1, 2, 6], "3 of 10 frames cannot be decoded: 1-2, 6 (counted from 0)"),
        ([8, 9], "it ends after 8 of 10 frames"),
    ],
)
def test_unreadable_frames_do_not_end_a_video(
    holes, told, network, video, tmp_path, capsys
):
    _damage(video, *holes)
    assert _run(video, "--out", tmp_path / "out") == 1
    kept = [f"frame_{i:06}.png" for i in range(FRAMES) if i not in holes]
    assert _frames(tmp_path / "out") == kept
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"error: {video}: {told}; ")
    assert f"\n{len(kept)} frames, 0 dropped" in captured.out


def test_the_first_second_may_be_unreadable(network, make_video, capsys):
    video = make_video(fps=2)
    _damage(video, 0, 1, 2)
    assert _run(video) == 1
    assert "\n7 frames, 0 dropped" in capsys.readouterr().out


@pytest.mark.parametrize("whole", [2, 9])
def test_a_video_that_is_cut_off_is_told(whole, network, video, capsys):
    content = video.read_bytes()
    place = list(_places(content))[whole]
    video.write_bytes(content[: (place.start + place.stop) // 2])
    assert _run(video) == 1
    captured = capsys.readouterr()
    assert f"\n{whole} frames, 0 dropped" in captured.out  # none that is cut in two
    (line,) = captured.err.splitlines()
    assert line.startswith(f"error: {video}: it ends after {whole} of 10 frames; ")


def test_a_header_that_states_too_many_frames_is_told(network, video, capsys):
    for name, offset in ((b"avih", 24), (b"strh", 40)):
        _set_number(video, name, offset, 20)
    assert _run(video) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {video}: it ends after 10 of 20 frames; ")


def test_a_header_without_a_number_of_frames_is_no_problem(network, video, capsys):
    for name, offset in ((b"avih", 24), (b"strh", 40)):
        _set_number(video, name, offset, 0)
    _damage(video, 4)
    assert _run(video) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert ": 1 of 10 frames cannot be decoded: 4 (counted from 0)" in line


def test_an_mp4_may_leave_frames_out(network, make_video, capsys):
    video = make_video("trimmed.mp4", "mp4v")
    for name in (b"mvhd", b"elst"):
        _set_number(video, name, 20 if name == b"mvhd" else 12, 300, ">I")
    _set_number(video, b"elst", 16, 7 * 512, ">I")
    assert _run(video) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert int(captured.out.splitlines()[1].split()[0]) < FRAMES


def test_a_matroska_file_that_is_cut_off_is_told(network, make_video, capsys):
    video = make_video("cut.mkv", "mp4v")
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 9 // 10])
    assert _run(video) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert " of 10 frames; it is cut off" in line


@pytest.mark.parametrize(("name", "codec"), [("h.mkv", "mp4v"), ("h.webm", "VP90")])
def test_a_hole_in_a_matroska_file_is_told(name, codec, network, make_video, capsys):
    video = make_video(name, codec)
    content = bytearray(video.read_bytes())
    at = content.index(b"\x81\x00\xfa")  # track 1, 250 ms: the sixth frame
    content[at - 4 : at] = bytes(4)  # its name and size
    video.write_bytes(content)
    assert _run(video) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert " of 10 frames; it is cut off or damaged" in line


def test_sound_may_be_longer_than_the_pictures_of_a_matroska_file(make_video):
    video = make_video("sound.mkv", "mp4v")
    content = video.read_bytes()
    assert content.count(b"\x83\x81\x01") == 1  # the kind of its one track
    assert promised_frames(video, FRAMES, 20) == FRAMES
    video.write_bytes(content.replace(b"\x83\x81\x01", b"\x83\x81\x02"))
    assert promised_frames(video, FRAMES, 20) is None


def test_an_mp4_without_its_list_of_frames_is_no_video(network, make_video, capsys):
    video = make_video("cut.mp4", "mp4v")
    content = video.read_bytes()
    video.write_bytes(content[: content.rindex(b"moov")])
    assert "or cut off" in _fails(capsys, video)


@pytest.mark.parametrize("fps", [0.1, 0.5, 12.5, 150])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.webm", "VP90")]
)
def test_overlays_have_the_sources_rate(
    fps, name, codec, network, make_video, tmp_path
):
    out = tmp_path / "out" / name
    assert _run(make_video(name, codec, fps), "--out", out) == 0
    assert _read(out)[0] == pytest.approx(fps, rel=1e-3)


class ToldRate:
    """A video of frames each 40 ms that states a rate, or 0 for none."""

    def __init__(self, fps, frames):
        self.fps, self.left, self.time = fps, frames, -40

    def get(self, name):
        cv2 = pytest.importorskip("cv2")
        return {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_POS_MSEC: self.time}[name]

    def grab(self):
        self.left -= 1
        self.time += 40
        return self.left >= 0

    def isOpened(self):
        return True

    def release(self):
        pass


@pytest.mark.parametrize(
    ("told", "frames", "fps"),
    [(1000, 8, 25), (0, 8, 25), (30, 8, 30), (float("nan"), 8, 25), (1000, 1, 25)],
)
def test_a_rate_that_is_a_clocks_is_measured(told, frames, fps, video, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    capture = ToldRate(told, frames)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *args: capture)
    assert open_video(video).fps == fps


def test_frames_that_opencv_did_not_write_are_told(tmp_path):
    pytest.importorskip("cv2")
    out = tmp_path / "out.avi"

    def record():
        with open_recording(out, 1200, "source") as write:  # more than an AVI can hold
            for number in range(4):
                write(Image.new("RGB", (32, 32)), number)

    with pytest.raises(OSError, match=r"out.avi: OpenCV wrote \d of 4 frames; make"):
        record()
    assert list(tmp_path.iterdir()) == []


def _fails(capsys, *arguments):
    """The one line on stderr of a command that ends with exit code 2."""
    assert _run(*arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("missing.mp4", "no such file or folder"),
        ("text.mp4", "not a video"),
        ("scan.png", "one image"),
        ("empty", "no image in this folder"),
        ("98", "camera 98: cannot be opened"),
        ("9" * 20, "cannot be opened"),
        ("pipe", "neither a file nor a folder"),
    ],
)
def test_sources_that_cannot_be_read(source, what, network, tmp_path, capsys):
    pytest.importorskip("cv2")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("text.mp4", "scan.png"):
        (tmp_path / name).write_text("text")
    line = _fails(capsys, source if source.isdecimal() else tmp_path / source)
    assert what in line


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--roi", "1,2,3"], "left,top,width,height"),
        (["--roi", "100,0,80,60"], "reaches out of the frame"),
        (["--smooth", "1"], "less than 1"),
        (["--fps", "0"], "--fps"),
        (["--fps", "inf"], "fps must be more than 0 and at most 1000"),
        (["--frames", "0"], "--frames"),
        (["--frames", "9" * 30], "--frames"),
        (["--out", "overlay.gif"], ".mp4"),
    ],
)
def test_wrong_options(options, what, network, folder, capsys):
    assert what in _fails(capsys, folder, *options)


def test_source_is_not_written_over(network, folder, video, capsys):
    assert "choose another output" in _fails(capsys, video, "--out", video)
    assert "choose another output" in _fails(capsys, folder, "--out", folder / "out")


def test_missing_opencv_says_what_to_install(network, video, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for source in (video, "0"):
        assert 'pip install "keras-efsnet[stream]"' in _fails(capsys, source)
