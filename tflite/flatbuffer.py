"""Reads and edits a `.tflite` file's flatbuffer, without TensorFlow."""

from collections.abc import Sequence
from itertools import chain, count
from math import prod
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FORBIDDEN = (
    *("SHAPE", "PACK", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
    *("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"),
)
"""Slow operators of dynamic shapes, emulated dilations and unfrozen variables."""

ALIGNMENT = 16
"""The schema's alignment of weights in bytes."""

NO_TENSOR = -1
"""An optional input that is left out."""

_MOVERS = ("DEPTH_TO_SPACE", "RESHAPE")
"""Operators that only move values; the converter puts them after activations."""

_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
"""Operators whose second input is a kernel; products of others are negligible."""

_BUILTIN_NAMES = {
    code: name
    for name, code in vars(schema.BuiltinOperator).items()
    if isinstance(code, int)
}


def list_operators(content: bytes) -> list[str]:
    """Lists the names of a file's operators in the order they run.

    Returns:
        Names from the schema, such as `CONV_2D`, or `CUSTOM:` and the name of an
        operator that is not built in.
    """
    model = _unpack(content)
    return [
        _name(model.operatorCodes[operator.opcodeIndex])
        for graph in model.subgraphs
        for operator in graph.operators
    ]


def count_macs(content: bytes) -> int:
    """Counts the multiply-accumulates of a file's convolutions and dense layers.

    The count is for one image and for the file's own operators: EFSNet's int8 file has
    dense convolutions where its float32 file has grouped ones.
    """
    model = _unpack(content)
    codes = [_name(code) for code in model.operatorCodes]
    macs = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = codes[operator.opcodeIndex]
            if name in _PRODUCTS:
                # Each pixel is multiplied with the whole kernel (outputs, ..., inputs).
                transposed = name == "TRANSPOSE_CONV"
                at = operator.inputs[2] if transposed else operator.outputs[0]
                # `tolist`: 32 bits overflow for large networks.
                pixels = prod(graph.tensors[at].shape[:-1].tolist())
                kernel = graph.tensors[operator.inputs[1]].shape.tolist()
                macs += pixels * prod(kernel)
    return macs


def check_operators(content: bytes) -> None:
    """Rejects a file that would be slow or need a special runtime.

    Raises:
        ValueError: it has an operator that is not built in (such as Flex) or is one of
            `FORBIDDEN`.
    """
    names = sorted(set(list_operators(content)))
    found = [n for n in names if n in FORBIDDEN or n.startswith("CUSTOM:")]
    if found:
        raise ValueError(
            f"a .tflite file must not need {', '.join(found)}; convert a frozen graph "
            "of built-in operators with a fixed batch and size."
        )


def tidy(content: bytes) -> bytes:
    """Makes a converted file smaller and its last activations float.

    The last sigmoid and softmax of an int8 file take dequantized logits. So
    probabilities are not rounded to 1/256, and LiteRT's CPU delegate, which has no int8
    softmax, runs the whole network in one part. Tensors have short names of their own,
    since OpenVINO and tf2onnx find them by name. Equal quantization parameters are
    stored once.
    """
    model = _unpack(content)
    graph = model.subgraphs[0]
    codes = [_name(code) for code in model.operatorCodes]
    _dequantize_logits(graph, [codes[op.opcodeIndex] for op in graph.operators])
    _rename(graph, model.signatureDefs or ())
    return _pack(model, len(content))


def with_class_logits(content: bytes) -> bytes:
    """Replaces a file's output `class` by the int8 logits, to measure them."""
    model = _unpack(content)
    graph, output = model.subgraphs[0], _class_output(model)
    logits = _class_layer(graph, output.tensorIndex).outputs[0]
    graph.outputs = [logits if i == output.tensorIndex else i for i in graph.outputs]
    output.tensorIndex = logits
    return _pack(model, len(content))


def add_to_class_bias(content: bytes, values: np.ndarray) -> bytes:
    """Adds to the bias of the layer that computes the class logits.

    The converter drops a bias of zeros, as of untrained models: it stays that.

    Args:
        content: of an int8 file, after `tidy`.
        values: what to add to the logits `(classes,)`.
    """
    model = _unpack(content)
    graph = model.subgraphs[0]
    layer = _class_layer(graph, _class_output(model).tensorIndex)
    if layer.inputs[2] == NO_TENSOR:
        return content
    tensor = graph.tensors[layer.inputs[2]]
    buffer = model.buffers[tensor.buffer]
    bias = np.asarray(buffer.data, np.uint8).view(np.int32)
    bias = bias + np.rint(values / tensor.quantization.scale).astype(np.int32)
    buffer.data = bias.view(np.uint8)
    return _pack(model, len(content))


def add_buffer(content: bytes, name: str, data: bytes) -> bytes:
    """Adds a named buffer, which programs that do not know it ignore."""
    model = _unpack(content)
    model.buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
    entry = schema.MetadataT(name=name, buffer=len(model.buffers) - 1)
    model.metadata = [*(model.metadata or ()), entry]
    return _pack(model, len(content) + len(data))


def _class_output(model: Any) -> Any:
    (output,) = (x for x in model.signatureDefs[0].outputs if x.name == b"class")
    return output


def _class_layer(graph: Any, output: int) -> Any:
    """Finds the operator with kernel and bias that an output is computed from."""
    producers = {op.outputs[0]: op for op in graph.operators}
    operator = producers[output]
    while len(operator.inputs) < 3:
        operator = producers[operator.inputs[0]]
    return operator


class _SharingBuilder(flatbuffers.Builder):
    """Stores equal vectors once, and aligns bytes (the weights)."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._offsets: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._offsets:
            if x.dtype == np.uint8:
                self.Prep(ALIGNMENT, x.nbytes)
            self._offsets[key] = super().CreateNumpyVector(x)
        return self._offsets[key]


def _unpack(content: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _pack(model: Any, size: int) -> bytes:
    builder = _SharingBuilder(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _name(code: Any) -> str:
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM:{code.customCode.decode()}"
    return _BUILTIN_NAMES[number]


def _dequantize_logits(graph: Any, names: list[str]) -> None:
    """`activation, movers ..., DEQUANTIZE` -> `movers ..., DEQUANTIZE, activation`."""
    producers = {op.outputs[0]: i for i, op in enumerate(graph.operators)}
    for last in [i for i, name in enumerate(names) if name == "DEQUANTIZE"]:
        places = [last]
        while True:
            source = graph.operators[places[0]].inputs[0]
            if source not in producers:
                break
            places.insert(0, producers[source])
            if names[places[0]] not in _MOVERS:
                break
        if names[places[0]] in ("LOGISTIC", "SOFTMAX"):
            _move_to_end(graph, places)


def _move_to_end(graph: Any, places: list[int]) -> None:
    """Moves the int8 activation at `places[0]` to the end of the chain, as float."""
    activation, *movers, dequantize = (graph.operators[i] for i in places)
    logits, between = activation.inputs[0], activation.outputs[0]
    source = logits
    for mover in movers:
        mover.inputs, source = [source, *mover.inputs[1:]], mover.outputs[0]
        graph.tensors[source].quantization = graph.tensors[logits].quantization
    tensor = graph.tensors[between]
    tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    tensor.shape = graph.tensors[source].shape
    activation.inputs, activation.outputs = [between], dequantize.outputs
    dequantize.inputs, dequantize.outputs = [source], [between]
    for i, operator in zip(places, (*movers, dequantize, activation), strict=True):
        graph.operators[i] = operator


def _rename(graph: Any, signatures: Sequence[Any]) -> None:
    """Names tensors after the signature or their layer: `layer`, `layer/2`, ..."""
    names = {
        named.tensorIndex: named.name
        for signature in signatures
        for named in (*signature.inputs, *signature.outputs)
    }
    taken = set(names.values())
    outputs = [tensor for op in graph.operators for tensor in op.outputs]
    # A layer's output has its plain name, its weights have numbers.
    for i in (*outputs, *range(len(graph.tensors))):
        if i not in names:
            layer = _layer_name(graph.tensors[i].name)
            numbered = (b"%s/%d" % (layer, n) for n in count(2))
            names[i] = next(n for n in chain([layer], numbered) if n not in taken)
            taken.add(names[i])
    for i, name in names.items():
        graph.tensors[i].name = name


def _layer_name(name: bytes) -> bytes:
    """`model/layer/op;model/layer/op2` -> `layer`."""
    parts = name.split(b";")[0].split(b"/")
    return parts[1] if len(parts) > 2 else parts[0]
