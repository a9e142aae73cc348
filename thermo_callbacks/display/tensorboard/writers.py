"""TensorBoard writers, found by what they can do: Lightning's of both namespaces and tensorboardX's alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

_METHODS = ("add_scalar", "add_text", "add_image", "add_histogram", "add_custom_scalars")


class SummaryWriterLike(Protocol):
    """What is asked of a TensorBoard writer; torch's and tensorboardX's both have it."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> Any:
        """Write one number."""

    def add_text(self, tag: str, text_string: str, global_step: int | None = None) -> Any:
        """Write one text in Markdown."""

    def add_image(self, tag: str, img_tensor: Any, global_step: int | None = None, *, dataformats: str = "CHW") -> Any:
        """Write one image."""

    def add_histogram(self, tag: str, values: Any, global_step: int | None = None) -> Any:
        """Write the distribution of many numbers."""

    def add_custom_scalars(self, layout: Any) -> Any:
        """Write the layout of the Custom Scalars page."""


class PrefixedWriter(NamedTuple):
    """A TensorBoard writer and what its logger puts before every tag.

    Attributes:
        writer: The writer.
        prefix: Start of each tag, separator included; empty for most loggers.
    """

    writer: SummaryWriterLike
    prefix: str = ""


def tensorboard_writers(loggers: Iterable[object]) -> list[PrefixedWriter]:
    """TensorBoard writers behind a Trainer's loggers.

    Other loggers are not asked for their experiment, since that would create it. Where Lightning hands out its dummy
    experiment (ranks above 0), there is no writer. A writer given in place of a logger is taken as it is. Loggers are
    told by the name of their class or of one of its bases, ``TensorBoardLogger``: the namespaces
    ``lightning.pytorch`` and ``pytorch_lightning`` share no base class.

    Args:
        loggers: Loggers, ``trainer.loggers`` for example.

    Returns:
        Each writer once, in the order of the loggers.

    Example:
        >>> tensorboard_writers([])
        []
    """
    found: dict[int, PrefixedWriter] = {}
    for logger in loggers:
        writer, prefix = logger, ""
        if is_logger(logger, "TensorBoardLogger"):
            writer = getattr(logger, "experiment", None)
            name = getattr(logger, "_prefix", "")
            prefix = f"{name}{getattr(logger, 'LOGGER_JOIN_CHAR', '-')}" if name else ""
        # asked of the class, since the dummy experiment answers to every name
        if all(hasattr(type(writer), method) for method in _METHODS):
            found.setdefault(id(writer), PrefixedWriter(writer, prefix))  # type: ignore[arg-type]
    return list(found.values())


def is_logger(logger: object, name: str) -> bool:
    """Whether a logger is of a class of Lightning's, in either namespace: they share no base class, but names."""
    return any(base.__name__ == name for base in type(logger).__mro__)


def write_text(writers: Iterable[PrefixedWriter], tag: str, text: str, step: int) -> None:
    """Write a text in Markdown; the tag is that without a logger's prefix."""
    for writer, prefix in writers:
        writer.add_text(prefix + tag, text, step)
