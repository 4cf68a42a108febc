"""Bodies are unpacked within the limit, and what cannot be is said so."""

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.serving.bodies import OddBodyError, unpack
from pointsman.serving.errors import PayloadTooLargeError

LIMIT = 10_000
BODY = b'{"prompt": "hello"}'


def raw_deflate(body):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        ("X-GZip ", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
    ],
    ids=["none", "identity", "gzip", "x-gzip", "zlib", "raw deflate"],
)
def test_body_is_unpacked(encoding, packed):
    assert unpack(packed, encoding, LIMIT) == BODY


@pytest.mark.parametrize("size", [LIMIT, LIMIT - 1], ids=["at", "under"])
def test_body_up_to_the_limit_is_unpacked(size):
    assert len(unpack(gzip.compress(b"a" * size), "gzip", LIMIT)) == size


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate], ids=["gzip", "zlib", "raw"])
def test_bomb_stops_at_the_limit(pack):
    with pytest.raises(PayloadTooLargeError, match="larger than 10000 bytes"):
        unpack(pack(b"\0" * 50_000_000), "deflate", LIMIT)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "nonsense"])
def test_unknown_encoding_is_odd(encoding):
    with pytest.raises(OddBodyError, match="not gzip, deflate or identity"):
        unpack(BODY, encoding, LIMIT)


@pytest.mark.parametrize("packed", [BODY, b"", gzip.compress(BODY)[:-4]], ids=["plain", "empty", "cut off"])
def test_wrong_bytes_are_odd(packed):
    with pytest.raises(OddBodyError, match="not in the content-encoding"):
        unpack(packed, "gzip", LIMIT)


@given(st.binary(max_size=2000))
def test_any_bytes_are_unpacked_or_odd(packed):
    with suppress(OddBodyError, PayloadTooLargeError):
        assert len(unpack(packed, "gzip", LIMIT)) <= LIMIT


@given(st.binary(max_size=LIMIT))
def test_packing_and_unpacking_is_identity(body):
    assert unpack(gzip.compress(body), "gzip", LIMIT) == body
