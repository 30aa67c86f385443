"""Layers made of layers: their parts share what they are and keep what was changed.

Keras rebuilds a composite layer from its own arguments, so that parts that were frozen
or have another dtype policy would be lost on every save and copy.
"""

from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Shared:
    """What a model or layer shares with its parts."""

    dtype: keras.DTypePolicy
    trainable: bool


def shared_by(owner: keras.layers.Layer) -> Shared:
    return Shared(owner.dtype_policy, owner.trainable)


class Parts:
    """Makes the parts of a model or layer and tells what was changed in them.

    Args:
        changes: as the method `changes` returns them; parts are made with them.
    """

    def __init__(self, changes: dict[str, dict[str, Any]] | None = None) -> None:
        self._wanted = changes or {}
        self._made: dict[str, tuple[keras.layers.Layer, dict[str, Any]]] = {}

    def make(
        self,
        shared: Shared,
        kind: type[keras.layers.Layer],
        key: str,
        *arguments: Any,
        **options: Any,
    ) -> keras.layers.Layer:
        """Makes a layer of a kind; an option `dtype` replaces the shared one."""
        layer = kind(*arguments, **{"dtype": shared.dtype, **options})
        layer.trainable = shared.trainable
        config = _describe(layer)
        if key in self._wanted:
            layer = kind.from_config({**config, **self._wanted[key]})
        followed = {"trainable", "dtype"} - options.keys()
        own = {entry: config[entry] for entry in config.keys() - followed}
        self._made[key] = layer, own
        return layer

    def changes(self, shared: Shared) -> dict[str, dict[str, Any]]:
        """Returns for each part's key what in its config is not as it was made.

        Args:
            shared: what the parts share with their present owner.
        """
        dtype = _without_ids(keras.dtype_policies.serialize(shared.dtype))
        followed = {"trainable": shared.trainable, "dtype": dtype}
        made = {
            key: _difference(_describe(layer), {**followed, **own})
            for key, (layer, own) in self._made.items()
        }
        changes = {**self._wanted, **made}
        return {key: change for key, change in changes.items() if change}


class Composite(keras.layers.Layer):
    """A layer made of parts, which share its dtype policy and are frozen with it.

    Args:
        parts: what was changed in the parts, such as `{"norm": {"trainable": False}}`.
    """

    def __init__(
        self, *, parts: dict[str, dict[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._parts = Parts(parts)

    def part(
        self,
        kind: type[keras.layers.Layer],
        key: str,
        *arguments: Any,
        **options: Any,
    ) -> keras.layers.Layer:
        """Makes a part, unless `parts` says otherwise, of these arguments.

        It is named like its key, so that weights have the same path in every instance.
        """
        options = {"name": key, **options}
        return self._parts.make(shared_by(self), kind, key, *arguments, **options)

    def get_config(self) -> dict[str, Any]:
        changes = self._parts.changes(shared_by(self))
        return {**super().get_config(), **({"parts": changes} if changes else {})}


def _describe(layer: keras.layers.Layer) -> dict[str, Any]:
    # Some of Keras's layers tell the dtype of their weights instead of their policy.
    dtype = keras.dtype_policies.serialize(layer.dtype_policy)
    return _without_ids({**layer.get_config(), "dtype": dtype})


def _without_ids(config: dict[str, Any]) -> dict[str, Any]:
    """Drops the numbers that Keras gives to objects within one save or load."""
    return {
        key: _without_ids(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "shared_object_id"
    }


def _difference(config: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in config.items()
        if key not in other or value != other[key]
    }
