"""State dicts of a user's checkpoint files; nothing but tensors is unpickled."""

from __future__ import annotations

import io
import pickletools
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from hascodesign.common import inputs, packed
from hascodesign.common.inputs import Unreadable, one_line
from hascodesign.models.graph import quiet

MOST_PICKLE = 1 << 20  # bytes of that part of a checkpoint that says what it holds
MOST_WORD = 256  # characters; torch searches its own messages, quadratic in the longest word
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys of training loops
PARALLEL = "module."  # written by nn.DataParallel before every name
#: What pickletools lets out for damaged instructions.
DAMAGE = (struct.error, ValueError, OverflowError, LookupError, TypeError, EOFError)
OLD_PICKLES = 5  # that the form before zip archives begins with
#: Names that torch takes in a checkpoint but no state dict needs: the first makes as many bytes as
#: a number says, the others tensors whose values are not in the file.
REFUSED = ("bytearray", "_rebuild_wrapper_subclass", "_rebuild_meta_tensor_no_storage")


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, whatever a training loop or nn.DataParallel wrapped them in.

    Raises
    ------
    ModelError
        No regular file, too large, or no state dict of tensors.
    """
    with inputs.opened(path, inputs.CHECKPOINT) as (file, size):
        try:
            state = _loaded(file, size)
        except Unreadable as error:
            raise Unreadable(f"must be a state dict of tensors: it {error}") from None
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            break
    if not isinstance(state, dict):
        raise inputs.CHECKPOINT.refused(
            path, f"must be a state dict of tensors, not {type(state).__name__}"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not _plain(value):
            what = f"{type(value).__name__} under {str(key)[:80]!a}"
            raise inputs.CHECKPOINT.refused(
                path,
                "must be a state dict of tensors, alone or under 'state_dict', 'model_state_dict'"
                f" or 'model', not {what}",
            )
    return _with_metadata(state)


def _loaded(file: BinaryIO, size: int) -> Any:
    if file.read(4) == b"PK\3\4":
        archive = packed.archive(file, size, inputs.CHECKPOINT.most_unpacked(size))
        for member in archive.infolist():
            if member.filename.endswith(".pkl"):
                if member.file_size > MOST_PICKLE:
                    raise Unreadable(f"must have a data.pkl of at most {MOST_PICKLE} bytes")
                _check_pickles(packed.unpacked(archive, member), 1)
    else:
        file.seek(0)
        _check_pickles(file.read(min(size, MOST_PICKLE)), OLD_PICKLES)
    file.seek(0)
    return _unpickled(file)


def _check_pickles(content: bytes, count: int) -> None:
    """Read the instructions that the content begins with, and carry none of them out."""
    stream = io.BytesIO(content)
    try:
        for _ in range(count):
            for _, argument, _ in pickletools.genops(stream):
                _check_argument(argument)
    except Unreadable:
        raise
    except DAMAGE as error:
        raise Unreadable(f"must be whole: {type(error).__name__}: {one_line(error)}") from None


def _check_argument(argument: object) -> None:
    if isinstance(argument, bytes):
        argument = argument.decode("latin-1")
    if not isinstance(argument, str):
        return
    if max(map(len, argument.split(" "))) > MOST_WORD:
        raise Unreadable(f"must hold no word of more than {MOST_WORD} characters")
    for name in REFUSED:
        if name in argument:
            raise Unreadable(f"must not use {name}")


def _unpickled(file: BinaryIO) -> Any:
    try:
        with quiet():
            return torch.load(file, map_location="cpu", weights_only=True)
    # torch's parsers let out whatever the file's own bytes lead them to, of no list of classes
    except Exception as error:
        raise Unreadable(f"must be readable: {type(error).__name__}: {one_line(error)}") from None


def _with_metadata(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state, with torch's versions of its modules where they are of the form it expects."""
    metadata = getattr(state, "_metadata", None)
    prefix = PARALLEL if state and all(key.startswith(PARALLEL) for key in state) else ""
    kept: dict[str, Tensor] = OrderedDict(
        (key.removeprefix(prefix), value) for key, value in state.items()
    )
    if prefix:  # its names are those of the wrapped modules
        return kept
    if isinstance(metadata, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("version", 0), int)
        for entry in metadata.values()
    ):
        vars(kept)["_metadata"] = metadata  # where torch looks for it
    return kept


def _plain(value: object) -> bool:
    """Whether a value is a tensor whose numbers stand in memory one by one."""
    return (
        isinstance(value, Tensor)
        and type(value) in (Tensor, nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        # a step of 0 from one number to the next makes any size of one number
        and value.numel() * value.element_size() <= inputs.CHECKPOINT.unpacked
    )
