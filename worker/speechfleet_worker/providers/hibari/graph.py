"""Add an output to a model in ONNX's format, without the package of that name."""

from __future__ import annotations

# onnx.proto: the fields that lead from a model to the name of one of its outputs.
_MODEL_GRAPH = 7
_GRAPH_OUTPUT = 12
_VALUE_NAME = 1
_LENGTH_DELIMITED = 2


def with_output(model: bytes, tensor: str) -> bytes:
    """Return the model with one more output, an inner tensor of its graph, behind the others.

    A message that occurs twice is merged by every reader of protocol buffers, so that a second
    graph with nothing but the output adds it to the first
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
    """
    output = _field(_GRAPH_OUTPUT, _field(_VALUE_NAME, tensor.encode()))
    return model + _field(_MODEL_GRAPH, output)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
