"""Frames between the server and the process that reads its long bodies.

A question: HEADER, then as many bytes of body and of pickled history as it says. An answer: ANSWER, then a
pickle and, packed, the keys of the prompt's blocks, of which a long prompt has many thousands.
"""

import struct

HEADER = struct.Struct("<cQQ")  # kind, bytes of the body, bytes of the history
ANSWER = struct.Struct("<QQ")  # bytes of the pickle, bytes of the keys
SETUP, CHAT, RESPONSE, TOKENS = b"s", b"c", b"r", b"t"
