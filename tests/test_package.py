import subprocess
import sys

import pytest

import keras_efsnet

LOAD = "model = keras.saving.load_model(sys.argv[1]); print(type(model).__name__)"


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, keras_efsnet",
        "from keras_efsnet import EFSNet; import keras",
    ],
)
def test_saved_model_loads_in_a_fresh_process_in_either_order(imports, tmp_path):
    path = tmp_path / "model.keras"
    keras_efsnet.EFSNet(input_shape=(32, 32, 1)).save(path)
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; {LOAD}", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "EFSNet\n", result.stderr


def test_public_names_are_there():
    for name in keras_efsnet.__all__:
        assert getattr(keras_efsnet, name) is not None
        assert name in dir(keras_efsnet)
    assert keras_efsnet.layers.__name__ == "keras_efsnet.layers"


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Efsnet'"):
        keras_efsnet.Efsnet  # noqa: B018
