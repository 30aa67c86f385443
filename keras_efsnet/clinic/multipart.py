"""The first part of a multipart body, in pieces.

dicomweb-client holds an instance in memory about five times while it reads it, and a
cine can have hundreds of megabytes.
"""

from collections.abc import Iterable, Iterator


class EndsEarly(ValueError):
    """A body is not whole."""


def first_part(chunks: Iterable[bytes], boundary: str) -> Iterator[bytes]:
    """Yields the content of the first part, without its header.

    Args:
        chunks: the body.
        boundary: of the body's Content-Type.

    Raises:
        EndsEarly: the body ends before the part does.
    """
    delimiter = f"\r\n--{boundary}".encode()
    body = _Body(chunks)
    for mark in (delimiter, b"\r\n\r\n"):
        for _ in body.read_until(mark):
            pass
    yield from body.read_until(delimiter)


class _Body:
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._ahead = b"\r\n"  # a body may start with its boundary

    def read_until(self, mark: bytes) -> Iterator[bytes]:
        """Yields what comes before `mark`, and passes over it."""
        while (place := self._ahead.find(mark)) < 0:
            kept = len(mark) - 1  # the mark may begin in it
            yield self._ahead[:-kept]
            chunk = next(self._chunks, None)
            if chunk is None:
                raise EndsEarly
            self._ahead = self._ahead[-kept:] + chunk
        yield self._ahead[:place]
        self._ahead = self._ahead[place + len(mark) :]
