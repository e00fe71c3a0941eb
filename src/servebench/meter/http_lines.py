"""The lines of an HTTP/1.1 response: status, headers, sizes (RFC 9112). Pure; None for what is none."""

from typing import Final

MAX_FRAME: Final = 1 << 30
SIZES: Final = {b"%x" % size: size for size in range(1, 4096)}  # a look-up is cheaper than checking digits
_FRAMES: Final = {len(digits) + 4 + size: digits + b"\r\n" for digits, size in SIZES.items()}
# by the length of the whole chunk frame; b"\n", which begins none, where no frame has that length
SIZE_LINES: Final = tuple(_FRAMES.get(length, b"\n") for length in range(max(_FRAMES) + 1))
HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def read_status(line: bytes) -> int | None:
    """ "HTTP/1.1 200 OK" -> 200."""
    if line[:7] != b"HTTP/1." or line[7:8] not in (b"0", b"1") or line[8:9] != b" ":
        return None
    code = line[9:12]
    if not code.isdigit() or line[12:13] not in (b"", b" ") or code[0:1] == b"0":
        return None
    return int(code)


def read_headers(lines: list[bytes]) -> dict[str, str] | None:
    headers: dict[str, str] = {}
    key = ""
    for line in lines:
        if line[:1] in (b" ", b"\t") and key:  # a folded value, which a client unfolds (RFC 9112, 5.2)
            headers[key] = f"{headers[key]} {_value(line)}".strip()
            continue
        name, colon, value = line.partition(b":")
        if not colon or not name or not _TOKEN.issuperset(name):
            return None
        key = name.decode("ascii").lower()
        text = _value(value)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _value(line: bytes) -> str:
    return line.strip(b" \t").decode("latin-1")


def read_length(value: str) -> int | None:
    """Of a content-length; said twice it must be the same (RFC 9112, 6.3)."""
    lengths = {part.strip() for part in value.split(",")}
    text = lengths.pop()
    return None if lengths or not (text.isascii() and text.isdigit()) or len(text) > 15 else int(text)


def read_chunk_size(line: bytes) -> int | None:
    """Hexadecimal digits, then perhaps an extension after ";"."""
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > 8 or not HEX_DIGITS.issuperset(digits):
        return None
    size = int(digits, 16)
    return size if size <= MAX_FRAME else None
