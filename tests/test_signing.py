"""The platform's HMAC-SHA256 against the standard library's."""

from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from contest_platform.signing import signer


@given(key=st.binary(max_size=129), messages=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_every_message_gets_the_code_that_the_standard_library_gives_it(key: bytes, messages: list[bytes]) -> None:
    sign = signer(key)
    assert [sign(message) for message in messages] == [hmac.digest(key, message, "sha256") for message in messages]
