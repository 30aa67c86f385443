import pytest

import keras_efsnet


def test_public_names_are_there():
    for name in keras_efsnet.__all__:
        assert getattr(keras_efsnet, name) is not None
        assert name in dir(keras_efsnet)
    assert keras_efsnet.layers.__name__ == "keras_efsnet.models.layers"


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Efsnet'"):
        keras_efsnet.Efsnet  # noqa: B018
