"""Bodies that a service compressed although we ask for `identity`. Pure; never makes more than its limit."""

from __future__ import annotations

import zlib

from . import failures

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB_METHOD = 8


def decoded(body: bytes, *, coding: bytes, limit: int) -> bytes:
    """The body without its content coding; ExecutionError where that is unknown, broken or larger than `limit`."""
    match coding.strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip" | b"x-gzip":
            return _inflated(body, window=_GZIP, limit=limit)
        case b"deflate":
            return _inflated(body, window=_deflate_window(body), limit=limit)
        case _:
            raise failures.unreadable(f"the content encoding {ascii(coding.decode('latin-1'))[:80]} is not known")


def _deflate_window(body: bytes) -> int:
    """Services send both: the zlib format, which is right, and bare deflate."""
    return zlib.MAX_WBITS if body[0] & 0xF == _ZLIB_METHOD else -zlib.MAX_WBITS


def _inflated(body: bytes, *, window: int, limit: int) -> bytes:
    """A gzip body may have several members, one after the other."""
    made, left = bytearray(), body
    while left:
        stream = zlib.decompressobj(wbits=window)
        try:
            made += stream.decompress(left, limit - len(made) + 1)
        except zlib.error as error:
            raise failures.unreadable(error) from None
        if len(made) > limit:
            raise failures.too_large(limit)
        if not stream.eof:
            raise failures.unreadable("its compressed body is cut")
        left = stream.unused_data
        if left and window != _GZIP:
            raise failures.unreadable("more came after its compressed body")
    return bytes(made)
