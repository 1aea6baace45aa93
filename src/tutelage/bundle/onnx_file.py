"""Looks for external data in an ONNX file without the `onnx` library, before any runtime may follow it.

An ONNX tensor can name another file that holds its numbers. A bundle never does so: one file is what the
manifest vouches for. The walk knows the fields of onnx.proto3 that lead to a tensor and skips all others.
"""

from __future__ import annotations

from collections.abc import Iterator

# message -> field number -> message inside it (onnx.proto3, IR version 13)
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def has_external_data(model: bytes) -> bool:
    """Whether any tensor of a serialised ModelProto points at another file.

    Raises `ValueError` when the bytes are not a protocol buffer message with a graph.
    """
    view = memoryview(model)
    graphs = 0
    # A stack, not recursion: a file may nest deeper than Python's call stack.
    todo = [("model", 0, len(view))]
    while todo:
        message, start, end = todo.pop()
        for field, value, first, last in _fields(view, start, end):
            if message == "tensor":
                if field == _TENSOR_EXTERNAL_DATA or (field == _TENSOR_DATA_LOCATION and value != 0):
                    return True
            elif inside := _INSIDE[message].get(field):
                todo.append((inside, first, last))
                graphs += inside == "graph"
    if not graphs:
        raise ValueError("no graph in it")
    return False


def _fields(view: memoryview, place: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field, value, first byte, byte after the last): the value of a varint, the span of bytes."""
    while place < end:
        key, place = _varint(view, place, end)
        kind, value, first = key & 7, 0, place
        if kind == _VARINT:
            value, place = _varint(view, place, end)
        elif kind == _BYTES:
            size, first = _varint(view, place, end)
            place = first + size
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if place > end:
            raise ValueError("cut short")
        yield key >> 3, value, first, place


def _varint(view: memoryview, place: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError("cut short")
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number too long")
