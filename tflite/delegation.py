"""Finds the operators of a `.tflite` file that LiteRT's CPU delegate XNNPACK runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DELEGATE = "DELEGATE"
"""LiteRT's name for a delegated partition."""


@dataclass(frozen=True)
class Delegation:
    """How LiteRT splits a graph.

    Attributes:
        partitions: number of delegated parts. Data is copied between them.
        outside: counts by name of the operators that LiteRT's slower kernels run.
    """

    partitions: int
    outside: Mapping[str, int]

    def __str__(self) -> str:
        left = [f" + {count} {name}" for name, count in self.outside.items()]
        return f"{self.partitions}{''.join(left)}"


def inspect_delegation(file: str | Path) -> Delegation:
    """Loads a `.tflite` file and gives its delegation.

    Raises:
        RuntimeError, ValueError: LiteRT cannot run the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    outputs = [int(tensor["index"]) for tensor in interpreter.get_output_details()]
    # Private, but LiteRT has no other way to list the nodes.
    return read_plan(interpreter._get_ops_details(), outputs)


def read_plan(
    nodes: Sequence[Mapping[str, Any]], graph_outputs: Sequence[int]
) -> Delegation:
    """Finds the nodes that run, from the outputs back to the input.

    LiteRT lists all operators of the file, then the delegate's nodes. No running node
    needs a replaced operator: its outputs are a delegate node's, or inside one.

    Args:
        nodes: with `index`, `op_name`, and tensor numbers as `inputs` and `outputs`.
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
