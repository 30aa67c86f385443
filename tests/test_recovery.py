"""Training that is killed, interrupted, diverges or finds its disk full."""

import json
import random
import signal
import subprocess
import time
import zipfile
from dataclasses import replace
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from forked_runs import ForkedRuns
from test_train import SETTINGS, arrays, log_rows

from keras_efsnet.training.callbacks import MONITORS, Checkpoints
from keras_efsnet.training.state import TrainingState

LONG = replace(SETTINGS, epochs=100, phantoms=2, image_size=16, batch_size=2)
KILLS = 20


@pytest.fixture
def checkpoints(tmp_path):
    """Of a network of one weight, in its second epoch, the first one saved."""
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False)(image))
    model.compile("sgd")
    state = TrainingState(model, tmp_path / "state.npz")
    result = Checkpoints(state, model, tmp_path / "best.keras", best=0.5)
    result.set_model(model)
    state.save(1, 0.5)
    result.on_epoch_begin(1)
    return result


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_epoch_and_batch(checkpoints, loss):
    checkpoints.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(
        ValueError, match="the loss is no .* epoch 2, batch 4; best.ker"
    ):
        checkpoints.on_train_batch_end(3, {"loss": loss})


def test_a_weight_that_is_no_number_is_not_saved(checkpoints):
    saved = checkpoints.state.path.read_bytes()
    checkpoints.on_train_batch_end(5, {"loss": 1.0})
    checkpoints.model.weights[0].assign([[float("nan")]])
    with pytest.raises(ValueError, match="a weight is no .* epoch 2, batch 6"):
        checkpoints.on_epoch_end(1, {MONITORS["mask"]: 0.1})
    assert checkpoints.state.path.read_bytes() == saved


@pytest.fixture(scope="module", params=["torch", "tensorflow", "jax"])
def forks(request, tmp_path_factory):
    if not find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    result = ForkedRuns(request.param, tmp_path_factory.mktemp("errors"))
    yield result
    result.close()


def settings_file(folder, settings):
    path = folder / "given.json"
    path.write_text(json.dumps({"settings": settings.to_json()}))
    return path


def finish(process):
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def epochs_done(run):
    with np.load(run / "state.npz") as state:
        return json.loads(state["facts"].tobytes())["epochs_done"]


def wait_for(condition, process):
    """Waits until a condition holds or the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.002)


def time_to(act):
    """Gives the seconds that something takes."""
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


def wait_for_state(run, process):
    """Waits until a process has saved a state."""
    before = state_time(run)
    wait_for(lambda: state_time(run) != before, process)


def state_time(run):
    path = run / "state.npz"
    return path.stat().st_mtime_ns if path.exists() else 0


def check_readable(run):
    """Every checkpoint that is there can be loaded."""
    if (run / "state.npz").exists():
        assert all(np.isfinite(array).all() for array in arrays(run).values())
    if (run / "best.keras").exists():
        with zipfile.ZipFile(run / "best.keras") as archive:
            assert archive.testzip() is None


def start_or_resume(forks, run, given):
    if (run / "settings.json").exists():
        return forks.start(run, "--resume")
    return forks.start(run, "--settings", str(given))


@pytest.mark.slow
def test_killed_twenty_times_it_ends_with_the_same_weights(forks, tmp_path):
    given, run, whole = settings_file(tmp_path, LONG), tmp_path / "run", tmp_path / "a"
    process = forks.start(whole, "--settings", str(given))
    wait_for_state(whole, process)
    epoch = time_to(lambda: finish(process)) / (LONG.epochs - 1)
    # A second run, since the first one also compiled for all later ones.
    process = forks.start(tmp_path / "b", "--settings", str(given))
    start = time_to(lambda: wait_for_state(tmp_path / "b", process))
    process.kill()
    process.communicate()
    rng, moments = random.Random(0), []
    for _ in range(KILLS):
        process = start_or_resume(forks, run, given)
        moment = rng.choice(["starting", "epoch", "epoch", "writing"])
        if moment == "starting":
            time.sleep(rng.random() * start)
        else:
            wait_for_state(run, process)
            time.sleep(rng.random() * epoch)
        if moment == "writing":
            wait_for(lambda: list(run.glob(".*.part.*")), process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        check_readable(run)
        moments.append(moment)
    reached = epochs_done(run)
    finish(start_or_resume(forks, run, given))
    expected, found = arrays(whole), arrays(run)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert log_rows(run) == log_rows(whole)
    assert not list(run.glob(".*.part.*"))
    kinds = ", ".join(f"{moments.count(kind)} {kind}" for kind in sorted(set(moments)))
    print(f"{forks.backend}: {KILLS} kills ({kinds}), {reached} epochs by then; equal")


@pytest.mark.slow
def test_ctrl_c_leaves_a_state_to_resume(forks, tmp_path):
    run = tmp_path / "run"
    given = settings_file(tmp_path, LONG)
    for delay in (0.05, 0.3):
        process = start_or_resume(forks, run, given)
        wait_for_state(run, process)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        assert process.returncode == 130, errors
        *_, advice, last = errors.splitlines()
        assert last == "interrupted"
        assert advice == f"Stopped. Go on with: efsnet train --resume --out {run}"
        assert "Traceback" not in errors
        check_readable(run)
        assert not list(run.glob(".*.part.*"))
    assert 0 < epochs_done(run) < LONG.epochs


@pytest.mark.slow
def test_a_run_that_diverges_is_one_line(forks, tmp_path):
    given = settings_file(tmp_path, replace(SETTINGS, learning_rate=1e30))
    process = forks.start(tmp_path / "run", "--settings", str(given))
    _, errors = process.communicate()
    assert process.returncode == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("error")]
    assert line.startswith(f"error: {tmp_path}/run: the loss is no finite number after")
    assert "Traceback" not in errors


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 32 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs the right to")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(forks, tmp_path, small_disk):
    run, given = small_disk / "run", settings_file(tmp_path, LONG)
    process = forks.start(run, "--settings", str(given))
    wait_for_state(run, process)
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass
    _, errors = process.communicate()
    assert process.returncode == 2, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error")]
    assert line.startswith(f"error: {run}")
    assert "No space left on device" in line
    assert "Traceback" not in errors
    assert epochs_done(run) > 0
    check_readable(run)
    (small_disk / "filler").unlink()
    finish(forks.start(run, "--resume"))
    assert epochs_done(run) == LONG.epochs
