"""Template: a chunk that differs from the one before in the text of one JSON string needs no parsing. Pure.

Most chunks of a stream differ in one JSON string only. The first chunk of a kind is parsed (orjson) and
leaves a template: the bytes before that string's text and the bytes after it. A later piece with the same two
ends and a middle of well-formed UTF-8 without quotes, backslashes and control characters is then, byte for
byte, the same event with another non-empty text, and needs a stamp only.
"""

import re
from typing import Final

from servebench.meter.http_lines import SIZES

_ASCII = rb"[ !#-\[\]-\x7f]*"
_UTF8 = (  # the well-formed sequences of two to four bytes (Unicode 16, table 3-7)
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_TEXT: Final = rb"(?=.)%b(?:(?:%b)%b)*" % (_ASCII, _UTF8, _ASCII)
PLAIN_TEXT: Final = re.compile(_TEXT).fullmatch
NO_TEMPLATE: Final = b"\x00"  # no event begins with it


def whole_chunks(data: bytes, lead: bytes, tail: bytes) -> int:
    """How many chunk frames of one template data is, each in whole; 0 if there is anything else in it.

    lead: CR LF and what is before the text; tail: what is after it, and CR LF.
    """
    at = count = 0
    while at < len(data):
        mark = data.find(b"\r\n", at, at + 5)
        size = SIZES.get(data[at:mark])
        if size is None:
            return 0
        end = mark + size + 4
        whole = data.startswith(lead, mark) and data.endswith(tail, mark, end) and end <= len(data)
        if not whole or not PLAIN_TEXT(data, mark + len(lead), end - len(tail)):
            return 0
        at, count = end, count + 1
    return count


def template_of(piece: bytes, data: bytes, field: str) -> tuple[bytes, bytes] | None:
    """(before the text, after it) of a piece whose only event is `data`, with the text in a string named
    `field`; None where that is not the one place where another text would make another chunk of the kind.
    """
    key = field.encode()
    if piece.count(b'"%s"' % key) != 1:
        return None
    data_at = piece.find(data)
    found = re.search(rb'"%s"\s*:\s*"(%b)"' % (key, _TEXT), piece)
    if found is None or not 0 <= data_at < found.start() < found.end() < data_at + len(data):
        return None
    start, end = found.span(1)
    return piece[:start], piece[end:]
