import errno
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.files import describe_error, prepare_output
from keras_efsnet.images.reading import read_image
from keras_efsnet.prediction.batch import run_jobs
from keras_efsnet.prediction.planning import plan_jobs
from keras_efsnet.prediction.writing import write_records


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _plan(inputs: list[Path], out: Path) -> dict[str, str]:
    """Source name to target, both without their folders."""
    jobs = plan_jobs(inputs, out)
    assert not any(job.problem for job in jobs)
    return {job.source.name: str(job.target.relative_to(out)) for job in jobs}


MASKS = ("a_Mask.png", "a_mask (1).png", "a_mask - Copy.png", "a_mask2.png")


def test_sub_folders_are_mirrored_and_masks_skipped(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    _touch(
        data / "benign",
        "benign (1).png",
        "benign (1)_mask.png",
        "benign (1)_mask_1.png",
        "b.JPG",
        "b_mask.png",
    )
    _touch(data, "top.tif", "notes.txt", ".hidden.png", "lonely_mask.png")
    assert _plan([data], out) == {
        "b.JPG": "benign/b",
        "benign (1).png": "benign/benign (1)",
        "top.tif": "top",
    }


def test_masks_in_a_list_of_files_are_skipped(tmp_path):
    _touch(tmp_path, "a.png", "a_mask.png", "a_mask_b.png", "c_mask_d.png")
    found = _plan(sorted(tmp_path.glob("*.png")), tmp_path / "out")
    assert set(found) == {"a.png"}


def test_masks_are_left_out_by_the_rule_of_datasets_and_counted(tmp_path, caplog):
    _touch(tmp_path / "data", "a.png", *MASKS)
    _touch(tmp_path / "data" / "masks", "b_mask.png")
    with caplog.at_level(logging.INFO):
        assert _plan([tmp_path / "data"], tmp_path / "out") == {"a.png": "a"}
    assert caplog.messages == ["5 left out: masks by their names or folders"]


def test_masks_alone_are_one_line(tmp_path, capsys):
    _touch(tmp_path / "data", *MASKS)
    arguments = ["predict", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a_Mask.png: a mask by its name, and no other image is given" in line
    assert not (tmp_path / "out").exists()


def test_predict_says_how_many_masks_it_left_out(
    tmp_path, scan, predictor, monkeypatch, capfd
):
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *_: predictor
    )
    data, out = tmp_path / "data", tmp_path / "out"
    _touch(data, *MASKS)
    Image.fromarray(scan).save(data / "a.png")
    assert main(["predict", str(data), "--out", str(out)]) == 0
    assert capfd.readouterr().err == "4 left out: masks by their names or folders\n"
    assert len(json.loads((out / "predictions.json").read_text())) == 1


def test_equal_names_are_kept_apart(tmp_path):
    _touch(tmp_path / "one", "a.bmp", "a.png", "A.tif")
    _touch(tmp_path / "two", "a.png", "a_2.png")
    jobs = plan_jobs([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    targets = [str(job.target).casefold() for job in jobs]
    assert len(set(targets)) == len(targets) == 5


def test_frames_keep_apart_from_files_of_their_names(tmp_path):
    _touch(tmp_path / "data", "a.dcm", "a_frame02.png", "b_frame1.png", "sub/a.png")
    jobs = plan_jobs([tmp_path / "data"], tmp_path / "out")
    (cine,) = (job for job in jobs if job.source.name == "a.dcm")
    names = [cine.frame_target(number, 12).name for number in (1, 2, 3)]
    assert names == ["a_frame01", "a_frame02_2", "a_frame03"]
    assert cine.frame_target(1, 1) == cine.frame_target(None, 1) == cine.target


def test_an_image_given_twice_is_read_once(tmp_path):
    _touch(tmp_path / "data", "a.png")
    inputs = [tmp_path / "data", tmp_path / "data" / "a.png"]
    assert len(plan_jobs(inputs, tmp_path / "out")) == 1


@pytest.mark.parametrize("out", ["data", "data/out", "data/new/out"])
def test_output_inside_an_input_folder_is_refused(tmp_path, out):
    _touch(tmp_path / "data", "a.png")
    with pytest.raises(ValueError, match="lies inside the input"):
        plan_jobs([tmp_path / "data"], tmp_path / out)


def test_output_beside_an_input_file_is_refused(tmp_path):
    _touch(tmp_path / "data", "a.png", "a_mask.png")
    with pytest.raises(ValueError, match="masks could be overwritten"):
        plan_jobs([tmp_path / "data" / "a.png"], tmp_path / "data")


def test_input_inside_the_output_folder_is_allowed_where_nothing_meets(tmp_path):
    _touch(tmp_path / "data", "a.png")
    assert _plan([tmp_path / "data"], tmp_path) == {"a.png": "a"}


def test_missing_path_and_empty_folder_are_problems(tmp_path):
    (tmp_path / "empty").mkdir()
    missing, empty = plan_jobs(
        [tmp_path / "none.png", tmp_path / "empty"], tmp_path / "out"
    )
    assert "none.png: no such file" in missing.problem
    assert "empty: no image in this folder" in empty.problem


def test_links_that_lead_nowhere_are_problems(tmp_path):
    data = tmp_path / "data"
    _touch(data, "good.png")
    (data / "gone.png").symlink_to("nowhere")
    (data / "loop.png").symlink_to("loop.png")
    (data / "folder").symlink_to(data)
    good, gone, loop = sorted(
        plan_jobs([data], tmp_path / "out"), key=lambda job: job.problem
    )
    assert (good.source, good.problem) == (data / "good.png", "")
    assert gone.problem == f"{data}/gone.png: a link to a file that is not there"
    assert loop.problem == f"{data}/loop.png: Too many levels of symbolic links"


def test_linked_folders_are_searched_once_each(tmp_path):
    data, disk, out = tmp_path / "data", tmp_path / "disk", tmp_path / "out"
    _touch(data, "a.png", "z/b.png")
    _touch(disk, "c.png", "deep/d.png", "e.png")
    (data / "first").symlink_to(data / "z")  # before its folder, which counts
    (data / "disk").symlink_to(disk)
    (data / "again").symlink_to(disk / "deep")
    (data / "z" / "e.png").symlink_to(disk / "e.png")
    (disk / "deep" / "loop").symlink_to(disk)
    (disk / "home").symlink_to(data)
    assert _plan([data], out) == {
        "a.png": "a",
        "b.png": "z/b",
        "c.png": "disk/c",
        "d.png": "again/d",
        "e.png": "disk/e",
    }


def test_two_links_that_lead_to_each_other(tmp_path):
    for one, other in (("x", "y"), ("y", "x")):
        _touch(tmp_path / one, f"{one}.png")
        (tmp_path / one / "other").symlink_to(tmp_path / other)
    found = _plan([tmp_path / "x"], tmp_path / "out")
    assert found == {"x.png": "x", "y.png": "other/y"}


def test_an_input_that_is_itself_a_link_is_searched(tmp_path):
    _touch(tmp_path / "data", "sub/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert _plan([tmp_path / "link"], tmp_path / "out") == {"a.png": "sub/a"}


def test_a_link_to_a_folder_above_is_not_followed_and_told(tmp_path, caplog):
    _touch(tmp_path / "data", "a.png")
    _touch(tmp_path, "b.png")
    (tmp_path / "data" / "up").symlink_to(tmp_path)
    with caplog.at_level(logging.INFO):
        assert _plan([tmp_path / "data"], tmp_path / "out") == {"a.png": "a"}
    up = tmp_path / "data" / "up"
    told = f"{up}: not followed, as it leads to a folder above {tmp_path / 'data'}"
    assert caplog.messages == [told]


def test_output_inside_a_linked_folder_is_refused(tmp_path):
    _touch(tmp_path / "data", "a.png")
    _touch(tmp_path / "disk", "deep/b.png")
    (tmp_path / "data" / "disk").symlink_to(tmp_path / "disk")
    with pytest.raises(ValueError, match="lies inside the input .*disk, a link to"):
        plan_jobs([tmp_path / "data"], tmp_path / "disk" / "out")


def test_a_link_to_a_folder_that_is_not_there_is_a_problem(tmp_path):
    _touch(tmp_path / "data", "a.png")
    for name in ("disk", "notes.txt", ".hidden"):
        (tmp_path / "data" / name).symlink_to("nowhere")
    _, bad = plan_jobs([tmp_path / "data"], tmp_path / "out")
    assert bad.problem == f"{tmp_path}/data/disk: a link to a file that is not there"


def test_a_folder_that_may_not_be_read_is_a_problem(tmp_path, monkeypatch):
    data = tmp_path / "data"
    _touch(data, "a.png", "secret/b.png")
    scandir = os.scandir

    def guarded(path):
        if os.fspath(path).endswith("secret"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    good, bad = plan_jobs([data], tmp_path / "out")
    assert good.source.name == "a.png"
    assert bad.problem == f"{data}/secret: Permission denied"


def test_a_file_that_may_not_be_read_is_reported(tmp_path, monkeypatch, predictor):
    _touch(tmp_path / "data", "a.png")

    def refuse(path, *args):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    jobs = plan_jobs([tmp_path / "data"], tmp_path / "out")
    (record,) = run_jobs(jobs, predictor, tmp_path / "out")
    assert record["error"] == f"{tmp_path}/data/a.png: Permission denied"


@pytest.mark.parametrize(
    "name", ["é" * 125 + ".png", "a" * 251 + ".png", "画像 (1).png", "\udcff.png"]
)
def test_long_and_foreign_names_are_predicted(tmp_path, scan, predictor, name):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    Image.fromarray(scan).save(data / name, format="PNG")
    (record,) = run_jobs(plan_jobs([data], out), predictor, out)
    write_records(out, [record])
    assert json.loads((out / "predictions.json").read_text(encoding="utf-8")) == [
        record
    ]
    assert record["path"] == str(data / name)
    assert (out / record["mask_file"]).is_file()


def test_names_that_are_equal_after_the_cut_are_kept_apart(tmp_path):
    _touch(tmp_path / "data", *("a" * 240 + f"{i}.png" for i in range(3)))
    jobs = plan_jobs([tmp_path / "data"], tmp_path / "out")
    assert len({job.target for job in jobs}) == 3


def test_a_name_too_long_for_any_file_is_a_problem_of_its_own(tmp_path):
    _touch(tmp_path, "a.png")
    good, bad = plan_jobs([tmp_path / "a.png", tmp_path / ("b" * 300)], tmp_path / "o")
    assert good.problem == ""
    assert bad.problem.endswith("File name too long")


def test_a_full_disk_stops_the_run_and_leaves_no_part(
    tmp_path, scan, predictor, monkeypatch
):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name in "abc":
        Image.fromarray(scan).save(data / f"{name}.png")
    write = Path.write_bytes

    def write_half(part, content):
        if part.name.startswith(".a"):
            return write(part, content)
        write(part, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    jobs = run_jobs(plan_jobs([data], out), predictor, out)
    assert next(jobs)["path"] == str(data / "a.png")
    with pytest.raises(OSError, match="No space left") as raised:
        next(jobs)
    assert describe_error(raised.value) == (
        f"{out}/b_mask.png: cannot be written (No space left on device)"
    )
    assert {file.name for file in out.iterdir()} == {"a_mask.png", "a_overlay.png"}


def test_results_are_written_and_bad_files_reported(tmp_path, scan, predictor):
    data, out = tmp_path / "data", tmp_path / "out"
    _touch(data, "bad.png")
    Image.fromarray(scan).save(data / "good.png")
    records = list(run_jobs(plan_jobs([data], out), predictor, out))

    bad, good = records
    assert bad.keys() == {"path", "error"}
    assert "bad.png: not an image" in bad["error"]
    assert good["class"] == "benign"
    assert good["boxes"] == [[26, 16, 55, 45]]
    mask = read_image(out / good["mask_file"])
    np.testing.assert_array_equal(mask, np.where(scan < 100, 255, 0))
    assert read_image(out / good["overlay_file"]).shape[1] == 80
    names = sorted(file.name for file in out.iterdir())
    assert names == ["good_mask.png", "good_overlay.png"]


def test_records_are_replaced_whole(tmp_path):
    write_records(tmp_path, [{"path": "a"}, {"path": "ä"}])
    text = (tmp_path / "predictions.json").read_text(encoding="utf-8")
    assert json.loads(text) == [{"path": "a"}, {"path": "ä"}]
    with pytest.raises(TypeError):
        write_records(tmp_path, [{"path": object()}])
    assert (tmp_path / "predictions.json").read_text(encoding="utf-8") == text
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.json"]


def test_output_that_is_a_file_is_refused(tmp_path):
    _touch(tmp_path, "file")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(OSError, match="cannot be written to"):
            prepare_output(out)


@pytest.fixture
def two_images(tmp_path, scan):
    for name in ("a", "b"):
        Image.fromarray(scan).save(tmp_path / f"{name}.png")


def _listed(out: Path) -> list[str]:
    """The masks of predictions.json."""
    return [record["mask_file"] for record in json.loads(out.read_text("utf-8"))]


def test_a_rerun_removes_what_it_no_longer_lists(tmp_path, predict_files, two_images):
    out = tmp_path / "out"
    assert predict_files("a.png", "b.png", options=["--save-probabilities"]) == 0
    _touch(out, "c_mask.png", "c_overlay.png", "b.txt")
    assert predict_files("a.png") == 0
    assert {file.name for file in out.iterdir()} == {
        *("a_mask.png", "a_overlay.png", "index.html", "predictions.json", "run.json"),
        *("c_mask.png", "c_overlay.png", "b.txt"),  # not from the earlier run
    }
    assert _listed(out / "predictions.json") == ["a_mask.png"]


def test_the_files_of_an_image_that_now_fails_are_removed(
    tmp_path, predict_files, two_images
):
    assert predict_files("a.png", "b.png") == 0
    (tmp_path / "b.png").write_text("damaged")
    assert predict_files("a.png", "b.png") == 1
    assert not (tmp_path / "out" / "b_mask.png").exists()


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupted_rerun_loses_nothing(
    tmp_path, predict_files, two_images, scan, predictor, monkeypatch, at
):
    out = tmp_path / "out"
    assert predict_files("a.png", "b.png") == 0
    Image.fromarray(scan - 1).save(tmp_path / "c.png")
    answer = type(predictor).__call__

    # Two threads predict, in any order: the grey value tells the images apart.
    def stop(self, images):
        if images.max() == {1: scan.max() - 1, 2: scan.max()}[at]:
            raise KeyboardInterrupt
        return answer(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(type(predictor), "__call__", stop)
        assert predict_files("c.png", "a.png") == 130
    masks = ["a_mask.png", "b_mask.png"] if at == 1 else ["c_mask.png"]
    masks = masks if at == 1 else [*masks, "a_mask.png", "b_mask.png"]
    assert _listed(out / "predictions.json") == masks
    assert sorted(file.name for file in out.glob("*_mask.png")) == sorted(masks)
    assert predict_files("c.png") == 0
    assert [file.name for file in out.glob("*_mask.png")] == ["c_mask.png"]
    assert _listed(out / "predictions.json") == ["c_mask.png"]


@pytest.mark.parametrize(
    "name",
    [
        "../b_mask.png",
        "{tmp}/b_mask.png",
        "link/b_mask.png",
        "folder_mask.png",
        "notes.txt",
        7,
    ],
)
def test_a_record_from_elsewhere_removes_nothing(
    tmp_path, predict_files, two_images, name
):
    out = tmp_path / "out"
    _touch(tmp_path, "b_mask.png", "out/notes.txt", "out/folder_mask.png/c.png")
    (out / "link").symlink_to(tmp_path)
    name = name.format(tmp=tmp_path) if isinstance(name, str) else name
    write_records(out, [{"path": "b.png", "mask_file": name}])
    assert predict_files("a.png") == 0
    assert (tmp_path / "b_mask.png").exists()
    assert (out / "notes.txt").exists()


@pytest.mark.parametrize("text", ["no JSON", "{}", "[7, null]", "[" * 100_000])
def test_a_predictions_json_from_elsewhere_is_replaced(
    tmp_path, predict_files, two_images, text
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.json").write_text(text)
    assert predict_files("a.png") == 0
    assert _listed(out / "predictions.json") == ["a_mask.png"]


def test_an_input_that_an_earlier_run_wrote_is_kept(
    tmp_path, predict_files, two_images
):
    out = tmp_path / "out"
    _touch(tmp_path / "deep", "nothing.txt")
    (tmp_path / "deep" / "sub").mkdir()
    (tmp_path / "b.png").rename(tmp_path / "deep" / "sub" / "b.png")
    assert predict_files("deep") == 0
    assert predict_files("out/sub/b_overlay.png") == 0
    names = {str(file.relative_to(out)) for file in out.rglob("*.png")}
    assert names == {
        "sub/b_overlay.png",
        "b_overlay_mask.png",
        "b_overlay_overlay.png",
    }


@pytest.mark.parametrize(
    ("images", "masks"),
    [("images", "masks"), ("Images", "Masks"), ("imagesTr", "labelsTr")],
)
def test_folders_of_masks_beside_images_are_left_out(tmp_path, caplog, images, masks):
    data = tmp_path / "data"
    _touch(data / images, "one/a.png", "b.png")
    _touch(data / masks, "one/a.png", "b.png")
    _touch(data, "c.png")
    with caplog.at_level(logging.INFO):
        jobs = plan_jobs([data], tmp_path / "out")
    found = {str(job.source.relative_to(data)) for job in jobs}
    assert found == {f"{images}/one/a.png", f"{images}/b.png", "c.png"}
    assert caplog.messages == ["2 left out: masks by their names or folders"]


def test_a_folder_of_masks_is_predicted_if_it_is_given_or_alone(tmp_path):
    _touch(tmp_path / "data" / "images", "a.png")
    _touch(tmp_path / "data" / "masks", "b.png")
    _touch(tmp_path / "other" / "masks", "c.png")
    given = [tmp_path / "data" / "masks", tmp_path / "other"]
    assert set(_plan(given, tmp_path / "out")) == {"b.png", "c.png"}


@pytest.mark.parametrize("name", ["study", "2026.11.28", "1.2.840.113619", "study.v2"])
def test_a_broken_link_that_may_be_a_folder_is_told(tmp_path, name):
    _touch(tmp_path / "data", "a.png")
    (tmp_path / "data" / name).symlink_to(tmp_path / "gone")
    (tmp_path / "data" / "notes.txt").symlink_to(tmp_path / "gone.txt")
    problems = [job.problem for job in plan_jobs([tmp_path / "data"], tmp_path / "out")]
    told = f"{tmp_path / 'data' / name}: a link to a file that is not there"
    assert sorted(problems) == ["", told]


def test_a_folder_of_earlier_results_is_told_and_not_predicted(tmp_path):
    _touch(tmp_path / "data", "a.png")
    earlier = tmp_path / "data" / "earlier"
    _touch(earlier, "predictions.json", "a_overlay.png", "a_mask.png")
    _touch(earlier / "more", "b_overlay.png")
    told = f"{earlier}: earlier results (predictions.json); give the scans"
    for given, expected in ((tmp_path / "data", ["", told]), (earlier, [told])):
        jobs = plan_jobs([given], tmp_path / "out")
        assert [job.problem for job in jobs] == expected
