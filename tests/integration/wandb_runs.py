"""What a run of Weights & Biases without a network left on disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32_768
"""Bytes before the first record of a file, which is a log in LevelDB's format, and in one of its blocks."""
_PART = struct.Struct("<IHB")  # checksum, length, kind
_COMPLETE, _LAST = 1, 4


def records(folder: Path) -> Iterator[Any]:
    """Records of the one run in a folder, as it would be synchronised."""
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    content = file.read_bytes()
    assert content.startswith(b":W&B")
    place, parts = HEADER, b""
    while place < len(content):
        room = BLOCK - place % BLOCK
        if room < _PART.size:
            place += room
            continue
        _, length, kind = _PART.unpack_from(content, place)
        place += _PART.size + length
        parts += content[place - length : place]
        if kind in {_COMPLETE, _LAST}:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def history(folder: Path) -> list[dict[str, Any]]:
    """Rows of the run: name to value, in the order they were logged."""
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records(folder)
        if record.WhichOneof("record_type") == "history"
    ]
