"""The results page: the records, safe links, and no page that is not ours is lost."""

import base64
import html
import json
import os
import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.prediction import page
from keras_efsnet.prediction.caption import CLASS_COLOURS, bar_height
from keras_efsnet.style import read_style

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "\"'>&amp;",
    "100% #1 ?a=b&c",
    "javascript:alert(1)",
    "ünïcode 乳腺 \N{LINE SEPARATOR}",
    r"back\slash",
    "\udcff undecodable",
)


@pytest.fixture
def images(tmp_path, scan):
    """Two images beside `out`."""
    for name in ("a", "b"):
        Image.fromarray(scan).save(tmp_path / f"{name}.png")
    return ("a.png", "b.png")


def read(out):
    return (out / page.PAGE_NAME).read_text(encoding="utf-8")


def read_data(out):
    (text,) = re.findall(
        r'<script id="data" type="application/json">(.*?)</script>',
        read(out),
        re.DOTALL,
    )
    return json.loads(text)


def visible(out):
    """The texts of the page's head lines."""
    return html.unescape(re.sub(r"<[^>]+>|\s+", " ", read(out).partition("<main>")[0]))


def test_the_page_shows_the_records_in_their_order(predict_files, images, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    assert predict_files(images[1], "broken.png", images[0]) == 1
    out = tmp_path / "out"
    records = json.loads((out / "predictions.json").read_text())
    entries = read_data(out)["entries"]
    assert [entry["path"] for entry in entries] == [r["path"] for r in records]
    entry, failed, _ = entries
    record = records[0]
    for key in ("class", "probabilities", "refer", "mask_emptied", "milliseconds"):
        assert entry[key] == record[key]
    assert entry["files"] == {"mask": "b_mask.png", "overlay": "b_overlay.png"}
    (lesion,) = entry["lesions"]
    assert lesion.items() <= record["lesions"][0].items()
    assert lesion["longest_diameter_px"] == pytest.approx(30, abs=1.5)
    assert re.fullmatch(r"\d\d x \d\d px", entry["size"])
    assert entry["ratio"] == pytest.approx(80 / 60, abs=1e-4)
    assert failed["files"] == {}
    assert "not an image" in failed["error"]
    assert "probabilities" not in failed


def test_the_head_says_what_made_the_page(predict_files, images, tmp_path):
    predict_files(*images, options=["--model", "some/<model>", "--kind", "int8"])
    text = visible(tmp_path / "out")
    assert "Results: 2 images" in text
    assert "0 malignant, 2 benign, 0 normal." in text
    assert text.count("For research use only, not for diagnosis.") == 1
    assert re.search(r"Model some/<model> int8, keras-efsnet [\d.]+, \d{4}-", text)


def test_a_models_own_classes_are_counted(tmp_path):
    found = {"cyst": 0.75, "solid": 0.25}
    records = [
        {"path": "a.png", "class": "cyst", "probabilities": found, "refer": []},
        {"path": "b.png", "error": "none"},
    ]
    page.write_page(tmp_path, records, "model", refers=True)
    assert "0 solid, 1 cyst, 1 failed." in visible(tmp_path)


def test_without_classes_the_lesions_are_counted(tmp_path):
    alone = {"class": None, "probabilities": {}, "lesions": []}
    boxes = [[[0, 0, 2, 2]], []]
    records = [{"path": "a.png", **alone, "boxes": found} for found in boxes]
    page.write_page(tmp_path, records, "model", refers=False)
    assert "1 with a lesion." in visible(tmp_path)


def test_frames_have_their_numbers(predict_files, scan, tmp_path):
    first, *others = (Image.fromarray(scan) for _ in range(3))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=others)
    assert predict_files("pages.tif", options=["--save-probabilities"]) == 0
    entries = read_data(tmp_path / "out")["entries"]
    assert [entry["frame"] for entry in entries] == [1, 2, 3]
    assert entries[1]["files"] == {
        kind: f"pages_frame2_{kind}.png" for kind in ("mask", "overlay", "probability")
    }


def test_names_are_text_and_links_lead_to_the_files(predict_files, scan, tmp_path):
    folder, out = tmp_path / "scans" / "<b>", tmp_path / "out"
    folder.mkdir(parents=True)
    for name in HOSTILE:
        Image.fromarray(scan).save(folder / f"{name}.png")
    assert predict_files("scans") == 0
    text = read(out)
    (broken,) = (name for name in HOSTILE if "undecodable" in name)
    for name in set(HOSTILE) - {broken}:
        if "<" in name:
            assert name not in text
    entries = read_data(out)["entries"]
    shown = {Path(entry["path"]).stem for entry in entries}
    assert shown == {*HOSTILE, r"\xff undecodable"} - {broken}
    for entry in entries:
        assert len(entry["files"]) == 2
        for link in entry["files"].values():
            assert re.fullmatch(r"[\w.~/%-]+", link, re.ASCII)
            assert os.path.isfile(os.fsencode(out) + b"/" + unquote_to_bytes(link))


def test_an_end_of_the_script_in_a_record_is_text(tmp_path):
    """Folders and errors can hold it, names cannot."""
    record = {"path": "a</script><script>alert(1)</script>.png", "error": "</script>"}
    page.write_page(tmp_path, [record], "model", refers=False)
    (entry,) = read_data(tmp_path)["entries"]
    assert entry == {**record, "files": {}}


@pytest.mark.parametrize(
    "name", ["../b_mask.png", "/tmp/b_mask.png", "a/../../b_mask.png"]
)
def test_a_record_from_elsewhere_links_nothing_outside(tmp_path, name):
    page.write_page(tmp_path, [{"path": "b.png", "mask_file": name}], "", refers=False)
    assert read_data(tmp_path)["entries"] == [{"path": "b.png", "files": {}}]


def test_the_page_allows_its_own_parts_alone(predict_files, images, tmp_path):
    predict_files(*images)
    text = read(tmp_path / "out")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style>", 'script type="module">'):
        kind = tag.partition(" ")[0].rstrip(">")
        (content,) = re.findall(rf"<{re.escape(tag)}(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"<link|@import|url\(|https?:|\sstyle=|\son\w+=", text)
    assert re.findall(r'\s(?:href|src)="([^"]*)"', text) == ["predictions.json"]
    assert str(tmp_path) not in text.replace(read_data_text(text), "")


def read_data_text(text):
    return re.search(r'application/json">(.*?)</script>', text, re.DOTALL).group(1)


def test_a_rerun_replaces_the_page(predict_files, images, tmp_path):
    predict_files(*images)
    predict_files("a.png")
    assert [Path(e["path"]).name for e in read_data(tmp_path / "out")["entries"]] == [
        "a.png"
    ]


@pytest.mark.parametrize("command", ["predict", "demo"])
def test_another_page_is_not_overwritten(
    command, predict_files, images, stub_network, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("<title>Mine</title>")
    monkeypatch.setattr(type(stub_network), "__call__", None)
    code = (
        predict_files("a.png")
        if command == "predict"
        else main(["demo", "--out", str(out)])
    )
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {out / 'index.html'}: not a results page")
    assert "choose another output folder" in line
    assert ("--no-page" in line) == (command == "predict")
    assert [file.name for file in out.iterdir()] == ["index.html"]


def test_without_a_page_another_one_stays(predict_files, images, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("<title>Mine</title>")
    assert predict_files("a.png", options=["--no-page"]) == 0
    assert (out / "index.html").read_text() == "<title>Mine</title>"


def test_without_a_page_that_of_an_earlier_run_is_removed(
    predict_files, images, tmp_path
):
    predict_files("a.png")
    assert (tmp_path / "out" / "index.html").exists()
    assert predict_files("b.png", options=["--no-page"]) == 0
    assert not (tmp_path / "out" / "index.html").exists()


def test_workers_write_no_page(predict_files, images, tmp_path, monkeypatch):
    def run(jobs, *arguments):
        yield from ({"path": str(job.source), "error": "none"} for job in jobs)

    monkeypatch.setattr("keras_efsnet.prediction.archive.run_sharded", run)
    predict_files(*images, options=["--workers", "1"])
    assert not (tmp_path / "out" / "index.html").exists()


def test_ctrl_c_leaves_a_page_of_what_is_done(
    predict_files, images, stub_network, tmp_path, monkeypatch
):
    predict_files("b.png")
    calls = iter([None, KeyboardInterrupt])

    def interrupt(images, run=stub_network.__call__):
        if error := next(calls):
            raise error
        return run(images)

    monkeypatch.setattr(type(stub_network), "__call__", lambda self, x: interrupt(x))
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert predict_files("a.png", "c.png") == 130
    out = tmp_path / "out"
    names = [Path(entry["path"]).name for entry in read_data(out)["entries"]]
    assert names == ["a.png", "b.png"]
    assert "2 benign, 0 normal, 1 from an earlier run" in visible(out)


def test_the_demo_has_a_page(stub_network, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert str(tmp_path / "index.html") in capsys.readouterr().out
    assert len(read_data(tmp_path)["entries"]) == 3


def test_classes_have_the_colours_of_the_overlays():
    dark = read_style().partition("prefers-color-scheme: dark")[2].partition("\n}")[0]
    for label, colour in CLASS_COLOURS.items():
        assert f"--{label}: #{bytes(colour).hex()};" in dark


def test_an_overlay_that_is_gone_has_no_ratio(tmp_path):
    record = {"path": "a.png", "overlay_file": "a_overlay.png"}
    page.write_page(tmp_path, [record], "", refers=True)
    assert "ratio" not in read_data(tmp_path)["entries"][0]
    Image.new("RGB", (800, 200 + bar_height(800))).save(tmp_path / "a_overlay.png")
    page.write_page(tmp_path, [record], "", refers=True)
    assert read_data(tmp_path)["entries"][0]["ratio"] == 4
