"""Figures of speed: from durations to a table, never what this machine takes."""

import json
from itertools import count

import numpy as np
import pytest

from keras_efsnet import EFSNet
from keras_efsnet.cli import main
from keras_efsnet.extras import MissingPackage
from keras_efsnet.prediction.litert import LiteModel
from keras_efsnet.tflite import benchmark as measuring
from keras_efsnet.tflite import benchmark_onnx
from keras_efsnet.tflite.benchmark_process import Contender, Start, Worker
from keras_efsnet.tflite.benchmark_worker import WARM_UP, make_frame, time_runs
from keras_efsnet.tflite.delegation import Delegation, inspect_delegation, read_plan

MEBIBYTE = 2**20


@pytest.fixture
def int8_file(make_lite, tmp_path):
    path = tmp_path / "int8.tflite"
    path.write_bytes(make_lite(kind="int8"))
    return path


def start(milliseconds, peak_memory=MEBIBYTE):
    return Start(milliseconds, "LiteRT 0", peak_memory)


def test_figures_are_those_of_the_durations(lite_file):
    contender = Contender("tiny", lite_file, threads=2)
    starts = [start(300, 60 * MEBIBYTE), start(100, 40 * MEBIBYTE), start(200, 0)]
    durations = [1_000_000 * milliseconds for milliseconds in range(101, 0, -1)]
    row = measuring.make_measurement(contender, starts, Delegation(1, {}), durations)
    assert (row.name, row.threads, row.runs) == ("tiny", 2, 101)
    assert (row.median_ms, row.p95_ms) == (51, 96)
    assert row.frames_per_second == pytest.approx(1000 / 51)
    assert (row.cold_start_ms, row.peak_memory_mib) == (200, 40)
    assert row.file_bytes == lite_file.stat().st_size


def test_memory_is_missing_where_the_system_does_not_tell(lite_file):
    contender = Contender("tiny", lite_file)
    row = measuring.make_measurement(contender, [start(1, None)], None, [1_000_000])
    assert row.peak_memory_mib is None
    cells = row.to_cells()
    assert (cells["memory\nMiB"], cells["threads"]) == ("?", "auto")
    assert cells["delegate\npartitions"] == "-"


def test_durations_are_by_the_clock_and_leave_the_warm_up_out():
    """Each run takes as many ticks of the clock as runs went before it."""
    now, numbers = [0], count()

    def run():
        now[0] += next(numbers)

    expected = [WARM_UP, WARM_UP + 1, WARM_UP + 2]
    assert time_runs(run, 3, clock=lambda: now[0]) == expected
    assert next(numbers) == WARM_UP + 3


class Recorder:
    """Stands for a network whose runs take its number of nanoseconds."""

    def __init__(self, number, log):
        self.number, self.log = number, log

    def time(self, runs):
        self.log.append((self.number, runs))
        return [self.number] * runs


def test_networks_take_turns():
    log, steps = [], []
    workers = [Recorder(1, log), Recorder(2, log)]
    durations = measuring.take_turns(workers, [2, 1], lambda: steps.append(len(log)))
    assert log == [(1, 2), (2, 2), (1, 1), (2, 1)]
    assert steps == [2, 4]
    assert durations == [[1] * 3, [2] * 3]


def test_files_and_threads_make_the_contenders(lite_file, tiny_model):
    files = [lite_file, str(tiny_model)]
    assert [(c.name, c.threads) for c in measuring.find_contenders(files)] == [
        (str(lite_file), 1),
        (str(tiny_model), None),
    ]
    found = measuring.find_contenders([lite_file, lite_file], [2, 1, 2])
    assert [(c.file, c.threads) for c in found] == [(lite_file, 2), (lite_file, 1)]


def test_a_preset_stands_for_its_lite_files(lite_file, tmp_path, monkeypatch):
    preset = tmp_path / "presets" / "small"
    preset.mkdir(parents=True)
    for name in ("model.keras", "model_int8.tflite", "model_float32.tflite"):
        (preset / name).touch()
    monkeypatch.setattr("keras_efsnet.models.presets.PRESETS", preset.parent)
    expected = ["model_float32.tflite", "model_int8.tflite"]
    by_name = measuring.find_contenders(["small"])
    assert [c.name for c in by_name] == [f"small/{name}" for name in expected]
    assert [c.file for c in by_name] == [preset / name for name in expected]
    by_folder = measuring.find_contenders([preset])
    assert [c.file for c in by_folder] == [preset / name for name in expected]


@pytest.fixture
def onnx_file(tmp_path):
    """A file with the input and outputs of the contract."""
    onnx = pytest.importorskip("onnx")
    shapes = {"image": (1, 32, 48, 1), "mask": (1, 32, 48, 1), "class": (1, 1536)}
    image, *outputs = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    nodes = [
        onnx.helper.make_node("Sigmoid", ["image"], ["mask"]),
        onnx.helper.make_node("Flatten", ["image"], ["class"]),
    ]
    graph = onnx.helper.make_graph(nodes, "tiny", [image], outputs)
    opset = onnx.helper.make_opsetid("", 17)
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_onnx_files_are_measured_in_each_runtime_that_is_installed(
    onnx_file, monkeypatch
):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(benchmark_onnx, "installed_runtimes", lambda: ["onnxruntime"])
    contenders = measuring.find_contenders([onnx_file.parent])
    (row,) = measuring.benchmark(contenders, runs=2)
    assert row.name == f"{onnx_file.parent}/model.onnx, ONNX Runtime"
    assert row.runtime.startswith("ONNX Runtime ")
    assert (row.threads, row.runs, row.delegation) == (1, 2, None)
    two = ["onnxruntime", "openvino"]
    monkeypatch.setattr(benchmark_onnx, "installed_runtimes", lambda: two)
    names = [c.name for c in measuring.find_contenders([onnx_file], [1])]
    assert names == [f"{onnx_file}, ONNX Runtime", f"{onnx_file}, OpenVINO"]


def test_onnx_files_without_a_runtime_say_what_to_install(onnx_file, monkeypatch):
    monkeypatch.setattr(benchmark_onnx, "installed_runtimes", lambda: [])
    with pytest.raises(MissingPackage, match=r"pip install \"keras-efsnet\[onnx\]\""):
        measuring.find_contenders([onnx_file])


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(lite_file, threads):
    with pytest.raises(ValueError, match=f"threads must be at least 1, got {threads}"):
        measuring.find_contenders([lite_file], [1, threads])


@pytest.mark.parametrize("name", ["none.tflite", "none", ".", "notes.txt"])
def test_what_is_no_model_is_named(tmp_path, name):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="nothing to measure there") as raised:
        measuring.find_contenders([tmp_path / name])
    assert str(raised.value).startswith(str(tmp_path / name))


def test_runs_below_one_are_refused(lite_file):
    with pytest.raises(ValueError, match="runs must be at least 1, got 0"):
        measuring.benchmark([Contender("tiny", lite_file)], runs=0)


def test_measures_each_network_in_its_process(lite_file, int8_file):
    contenders = measuring.find_contenders([lite_file, int8_file])
    steps = []
    rows = measuring.benchmark(contenders, 11, lambda *step: steps.append(step))
    assert [row.name for row in rows] == [str(lite_file), str(int8_file)]
    for row in rows:
        assert row.runs == 11
        assert 0 < row.median_ms <= row.p95_ms < row.cold_start_ms
        assert row.peak_memory_mib > 10
        assert row.runtime.startswith("LiteRT ")
    assert rows[0].delegation == inspect_delegation(lite_file)
    total = 2 * measuring.COLD_STARTS + 2
    assert steps == [(i + 1, total) for i in range(total)]


def test_measured_memory_is_not_the_parents(lite_file):
    """Linux hands the largest size of a process down to those that it starts."""
    ballast = np.ones(150 * MEBIBYTE, np.uint8)
    with Worker(Contender("tiny", lite_file)) as worker:
        assert worker.start.peak_memory < ballast.nbytes


def test_a_damaged_file_is_named(lite_file):
    lite_file.write_bytes(lite_file.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"tiny\.tflite: not a \.tflite file"):
        measuring.benchmark([Contender("tiny", lite_file)])


def test_a_process_that_dies_is_named(lite_file):
    message = "tiny: its process ended with code 1"
    worker = Worker(Contender("tiny", lite_file))
    with worker, pytest.raises(ValueError, match=message):
        worker.time("no number")


def test_the_frame_is_a_phantom_of_the_networks_type(lite_file, int8_file):
    for file, dtype in ((lite_file, np.float32), (int8_file, np.uint8)):
        frame = make_frame(LiteModel(file))
        assert (frame.shape, frame.dtype) == ((1, 64, 64, 1), dtype)
        assert len(np.unique(frame)) > 32


def node(index, name, inputs, outputs):
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


def test_operators_are_outside_when_their_outputs_are_needed():
    """QUANTIZE, [CONV_2D, ADD], SOFTMAX, [DEQUANTIZE]; -1 is an input left out."""
    nodes = [
        node(0, "QUANTIZE", [0], [1]),
        node(1, "CONV_2D", [1, -1], [2]),
        node(2, "ADD", [2, 1], [3]),
        node(3, "SOFTMAX", [3], [4]),
        node(4, "DEQUANTIZE", [4], [5]),
        node(5, "DELEGATE", [1], [3]),
        node(6, "DELEGATE", [4], [5]),
    ]
    expected = Delegation(2, {"QUANTIZE": 1, "SOFTMAX": 1})
    assert read_plan(nodes, [5]) == expected
    assert str(expected) == "2 + 1 QUANTIZE + 1 SOFTMAX"
    assert read_plan(nodes[:5], [5]).partitions == 0
    assert sum(read_plan(nodes[:5], [5]).outside.values()) == 5


def test_files_say_what_the_delegate_leaves(lite_file, int8_file):
    assert inspect_delegation(lite_file) == Delegation(1, {})
    # LiteRT's delegate converts no uint8 input and has no int8 softmax.
    left = inspect_delegation(int8_file).outside
    assert left == {"QUANTIZE": 1, "SOFTMAX": 1}


def run_command(*arguments):
    return main(["benchmark", *(str(argument) for argument in arguments)])


def test_command_prints_a_table_and_writes_json(lite_file, tmp_path, capsys):
    report = tmp_path / "report.json"
    assert run_command(lite_file, "--threads", 1, 2, "--json", report) == 0
    captured = capsys.readouterr()
    lines = [line for line in captured.out.splitlines() if str(lite_file) in line]
    assert [line.split("│")[2].strip() for line in lines] == ["1", "2"]
    assert captured.err == ""
    rows = json.loads(report.read_text(encoding="utf-8"))["measurements"]
    assert [row["threads"] for row in rows] == [1, 2]
    assert rows[0]["delegation"] == {"partitions": 1, "outside": {}}
    expected = 1000 / rows[0]["median_ms"]
    assert rows[0]["frames_per_second"] == pytest.approx(expected)
    assert {file.name for file in tmp_path.iterdir()} == {"report.json", "tiny.tflite"}


def test_ratios_are_to_the_plain_file_with_as_many_threads():
    def row(name, threads, median):
        return measuring.Measurement(
            name, threads, "LiteRT", 1, median, median, 1.0, None, 1, None
        )

    rows = [row("ours", 1, 3.0), row("ours", 2, 2.0), row("plain float32", 1, 6.0)]
    assert measuring.ratios(rows) == [0.5, None, 1.0]
    last_column = [list(cells.values())[-1] for cells in measuring.table_cells(rows)]
    assert last_column == ["0.50", "-", "1.00"]
    assert len(measuring.table_cells(rows)[0]) == 1 + len(
        measuring.table_cells(rows[:2])[0]
    )


@pytest.mark.slow
def test_command_measures_the_plain_conversion_too(lite_file, tmp_path, capsys):
    pytest.importorskip("tensorflow")
    model = tmp_path / "model.keras"
    EFSNet((32, 32, 1), width=0.5).save(model)
    assert run_command(lite_file, "--plain", model) == 0
    lines = capsys.readouterr().out.splitlines()
    plain = [line.split("│") for line in lines if "plain" in line and "│" in line]
    assert [cells[1].strip() for cells in plain] == ["plain float32", "plain int8"]
    assert plain[0][-2].strip() == "1.00"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.tflite"], "error: none.tflite: nothing to measure there"),
        (["--threads", 1, 0, "none.tflite"], "error: threads must be at least 1"),
        (["--threads", 0, "none.tflite"], "error: threads must be at least 1"),
        (["--threads", 1, 2], "error: no models to measure"),
    ],
)
def test_wrong_use_is_one_line(arguments, message, capsys):
    assert run_command(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
