import csv
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_efsnet
from keras_efsnet.cli import main
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.referral import ReferralRule


@pytest.fixture
def folder(tmp_path, scan):
    """A folder with three scans."""
    path = tmp_path / "scans"
    path.mkdir()
    for name in "abc":
        Image.fromarray(scan).save(path / f"{name}.png")
    return path


def _records(out):
    return json.loads((out / "predictions.json").read_text(encoding="utf-8"))


def _fails(capsys, arguments) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_help_needs_neither_keras_nor_numpy():
    code = (
        "import sys; from keras_efsnet.cli import main; code = main(['--help']);"
        "heavy = {'keras', 'tensorflow', 'numpy', 'PIL'} & set(sys.modules);"
        "sys.exit(code or str(heavy) if heavy else code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    for command in ("demo", "predict", "info"):
        assert f"│ {command} " in result.stdout


@pytest.mark.parametrize(
    ("words", "missing", "extra"),
    [
        (["train", "--data", "phantom"], "tensorflow", "train,tensorflow"),
        (
            ["calibrate", "--model", "m", "--data", "d", "--split", "s"],
            "scipy",
            "train",
        ),
        (["evaluate", "--data", "d", "--split", "none"], "scipy", "train,tensorflow"),
        (["export", "--model", "m", "--data", "d", "--split", "s"], "scipy", "tflite"),
        (["report", "r"], "matplotlib", "train,tensorflow"),
    ],
)
def test_a_missing_package_is_one_line_with_its_extra(tmp_path, words, missing, extra):
    block = f"import sys; sys.modules[{missing!r}] = None; "
    call = "from keras_efsnet.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [*words, "--out", str(tmp_path / "out")]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    result = subprocess.run(
        [sys.executable, "-c", block + call, *words],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 2, result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"error: efsnet {words[0]} needs {missing}, which is not")
    assert f'pip install "keras-efsnet[{extra}' in line
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_prediction_modules_need_no_keras():
    code = (
        "import sys, keras_efsnet, keras_efsnet.cli, keras_efsnet.prediction.demo;"
        "keras_efsnet.predict, keras_efsnet.LABELS, keras_efsnet.Prediction;"
        "sys.exit(str({'keras', 'tensorflow', 'scipy'} & set(sys.modules) or ''))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert result.stderr.strip() == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"keras-efsnet {keras_efsnet.__version__}\n"


def test_predict_writes_a_line_and_a_record_an_image(
    stub_network, folder, tmp_path, capsys
):
    out = tmp_path / "out"
    assert main(["predict", str(folder), "--out", str(out)]) == 0
    assert [record["class"] for record in _records(out)] == ["benign"] * 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"[1/3] {folder / 'a.png'}: benign 70%, lesion 14.")
    assert lines[3].startswith("note: the model has no refer rule")
    assert lines[4].startswith(f"3 of 3 images: {out}.")
    assert sorted(file.name for file in out.iterdir()) == [
        *(f"{name}_{kind}.png" for name in "abc" for kind in ("mask", "overlay")),
        *("index.html", "predictions.json", "run.json"),
    ]


def test_predict_says_what_is_referred_and_why(
    stub_network, folder, tmp_path, capsys, monkeypatch
):
    rule = ReferralRule(minimum_class_probability=0.75, minimum_mask_margin=0.0)
    monkeypatch.setattr(stub_network, "rules", Postprocess(refer=rule), raising=False)
    (folder / "b.png").write_text("no image")
    out = tmp_path / "out"
    assert main(["predict", str(folder), "--out", str(out)]) == 1
    reasons = [record.get("refer") for record in _records(out)]
    assert reasons == [["class unsure"], None, ["class unsure"]]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" ms, refer: class unsure")
    assert lines[-1].startswith(f"2 of 3 images, 2 referred: {out}.")


def test_one_bad_file_is_reported_and_the_rest_go_on(
    stub_network, folder, tmp_path, capsys
):
    (folder / "b.png").write_text("no image")
    missing = tmp_path / "missing.png"
    out = tmp_path / "out"
    assert main(["predict", str(folder), str(missing), "--out", str(out)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in errors] == [
        ["error", str(folder / "b.png")],
        ["error", str(missing)],
    ]
    assert ["error" in record for record in _records(out)] == [0, 1, 0, 1]


def test_only_bad_files_is_nothing_done(stub_network, tmp_path, capsys):
    path = tmp_path / "scan.png"
    path.write_text("no image")
    assert main(["predict", str(path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}: not an image")


def test_truncated_image_is_one_line(stub_network, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)
    path = tmp_path / "scan.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    assert main(["predict", str(path), "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {path}: damaged image file")


def test_missing_path(stub_network, tmp_path, capsys):
    out = tmp_path / "out"
    line = _fails(capsys, ["predict", tmp_path / "none", "--out", out])
    assert "none: no such file or folder" in line
    assert not out.exists()


def test_empty_folder(stub_network, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    line = _fails(capsys, ["predict", tmp_path / "empty", "--out", tmp_path / "out"])
    assert "empty: no image in this folder" in line


def test_unwritable_output(stub_network, folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    line = _fails(capsys, ["predict", folder, "--out", tmp_path / "file" / "out"])
    assert "out: cannot be written to" in line


def test_output_inside_the_input(stub_network, folder, capsys):
    line = _fails(capsys, ["predict", folder, "--out", folder / "out"])
    assert "lies inside the input" in line
    assert not (folder / "out").exists()


def test_unknown_model(folder, tmp_path, capsys):
    arguments = ["predict", folder, "--out", tmp_path / "out", "--model", "huge"]
    assert "huge: no such model" in _fails(capsys, arguments)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "Missing command"),
        (["nothing"], "'nothing'"),
        (["predict"], "PATH"),
        (["predict", "a", "--out", "b", "--threads", "0"], "--threads"),
    ],
)
def test_wrong_use_is_one_line(arguments, what, capsys):
    line = _fails(capsys, arguments)
    assert what in line
    assert line.endswith("see efsnet --help.")


@pytest.mark.parametrize("way", ["option", "environment"])
def test_debug_shows_the_stack_trace_before_the_line(
    way, folder, tmp_path, capsys, monkeypatch
):
    arguments = ["predict", str(folder), "--out", str(tmp_path / "out")]
    arguments += ["--model", "huge"]
    if way == "option":
        arguments.append("--debug")
    else:
        monkeypatch.setenv("EFSNET_DEBUG", "1")
    assert main(arguments) == 2
    *trace, line = capsys.readouterr().err.splitlines()
    assert trace[0].startswith("Traceback")
    assert line.startswith("error: huge: no such model")


def test_ctrl_c_keeps_what_is_done(stub_network, folder, tmp_path, capsys, monkeypatch):
    calls = iter([None, None, KeyboardInterrupt])

    def interrupt(images, run=stub_network.__call__):
        if error := next(calls):
            raise error
        return run(images)

    monkeypatch.setattr(type(stub_network), "__call__", lambda self, x: interrupt(x))
    out = tmp_path / "out"
    assert main(["predict", str(folder), "--out", str(out)]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert len(_records(out)) == 2
    assert not list(out.glob("*.part"))


def test_demo_writes_each_class_and_a_table(stub_network, tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for label, record in zip(LABELS, _records(out), strict=True):
        assert f"{label}.png" in printed
        shape = read_image(out / f"{label}.png").shape
        assert read_image(out / record["mask_file"]).shape == shape
        assert (out / record["overlay_file"]).is_file()


def test_predict_and_info_with_a_model_file(tiny_model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["predict", str(folder), "--out", str(out), "--model", str(tiny_model)]
    assert main(arguments) == 0
    assert all(800 > record["lesion_area_px"] > 600 for record in _records(out))

    capsys.readouterr()
    assert main(["info", str(tiny_model)]) == 0
    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    digest = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert facts["sha256"].strip() == digest
    assert facts["parameters"].strip() == "6 (6 trainable)"
    assert facts["input image"].strip() == "float32 (None, 64, 64, 1)"
    assert facts["output mask"].strip() == "float32 (None, 64, 64, 1)"
    assert facts["version numpy"].strip() == np.__version__

    assert main(["info", str(tiny_model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sha256"] == {tiny_model.name: digest}
    assert found["versions"]["numpy"] == np.__version__


def test_run_json_says_what_made_the_results(tiny_model, folder, tmp_path):
    out = tmp_path / "out"
    command = ["predict", str(folder), "--out", str(out), "--model", str(tiny_model)]
    assert main([*command, "--callipers", "--format", "csv"]) == 0
    run = json.loads((out / "run.json").read_text())
    digest = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert run["weights SHA-256"] == digest
    assert (run["model"], run["file"]) == (str(tiny_model), tiny_model.name)
    assert run["options"]["callipers"]
    assert run["options"]["formats"] == ["csv"]
    assert run["finished"]


def test_info_as_json_has_the_hashes_of_all_files_of_a_preset(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["card"]["name"] == "efsnet_base_breast"
    assert found["sha256"] == found["card"]["sha256"]
    assert found["sha256"].keys() > {"model.keras", "model_int8.tflite"}


def _manifest(folder, seed):
    """A manifest of three phantoms of the hospital that the folder is named after."""
    write_phantoms(folder / "data", 1, seed)
    path, named = folder / "all.csv", folder / "manifest.csv"
    assert main(["data", "index", str(folder / "data"), "--out", str(path)]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"name": f"{folder.name}/{row['name']}", "source": folder.name}
    with named.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(named)


def test_whole_datasets_of_two_hospitals_are_evaluated(stub_network, tmp_path, capsys):
    out = tmp_path / "report"
    one, two = (_manifest(tmp_path / name, 1) for name in ("one", "two"))
    data = ["--data", one, "--data", two]
    assert main(["evaluate", *data, "--split", "none", "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["n"], metrics["protocol"], metrics["subset"]) == (6, "C", "test")
    assert metrics["sources"]["one"]["n"] == 3
    printed = capsys.readouterr().out
    assert "mean over sources" in printed
    assert "(too few)" in printed and "Too few: fewer than 10 patients" in printed
