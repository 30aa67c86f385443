"""Which operators of a `.tflite` file LiteRT's CPU delegate, XNNPACK, takes over."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DELEGATE = "DELEGATE"
"""LiteRT's name of a node that stands for a partition."""


@dataclass(frozen=True)
class Delegation:
    """How LiteRT splits a graph.

    Attributes:
        partitions: runs of operators that the delegate does in one go. Between two,
            maps are copied and converted.
        outside: names of the operators left to LiteRT's own, slower kernels, each with
            how often it is left.
    """

    partitions: int
    outside: Mapping[str, int]

    def __str__(self) -> str:
        left = [f" + {count} {name}" for name, count in self.outside.items()]
        return f"{self.partitions}{''.join(left)}"


def inspect_delegation(file: str | Path) -> Delegation:
    """Loads a `.tflite` file and looks at what is run.

    Raises:
        RuntimeError, ValueError: LiteRT cannot run the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    outputs = [int(tensor["index"]) for tensor in interpreter.get_output_details()]
    # Private, but the only way to the nodes; the log tells of them for debugging only.
    return read_plan(interpreter._get_ops_details(), outputs)


def read_plan(
    nodes: Sequence[Mapping[str, Any]], graph_outputs: Sequence[int]
) -> Delegation:
    """Finds the nodes that are run, from the outputs back to the input.

    LiteRT lists the file's operators, those it has replaced too, and after them the
    delegate's nodes. A replaced operator's outputs are those of a delegate node, or
    are inside one and so needed by no node that is run.

    Args:
        nodes: `op_name`, and tensor numbers as `inputs` and `outputs`.
        graph_outputs: the outputs' tensor numbers.
    """
    makers = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    run: dict[int, str] = {}
    needed = list(graph_outputs)
    while needed:
        node = makers.get(needed.pop())
        if node and node["index"] not in run:
            run[node["index"]] = node["op_name"]
            needed.extend(int(tensor) for tensor in node["inputs"])
    names = Counter(run[index] for index in sorted(run))
    partitions = names.pop(DELEGATE, 0)
    return Delegation(partitions, dict(names))
