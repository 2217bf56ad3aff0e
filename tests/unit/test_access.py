"""Who may call the service, and where it may listen."""

from dataclasses import replace

import pytest

from impasto.errors import InputError
from impasto.serve.access import LOCAL, check_listening, client_of, is_loopback
from impasto.serve.settings import KeyRefusedError, Listening

KEY, OTHER = "a-long-key-0123456789", "another-key-0123456789"


def test_without_keys_everybody_is_local():
    assert client_of((), None) == client_of((), "Bearer x") == LOCAL


def test_each_key_is_a_client_of_its_own():
    first, second = (client_of((KEY, OTHER), f"Bearer {key}") for key in (KEY, OTHER))
    assert len({first, second, LOCAL}) == 3
    assert client_of((OTHER, KEY), f"bearer  {KEY} ") == first
    assert KEY not in first


@pytest.mark.parametrize(
    "given", [None, "", KEY, "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer é"]
)
def test_a_wrong_key_is_refused(given):
    with pytest.raises(KeyRefusedError):
        client_of((KEY,), given)


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_an_address_that_others_reach_needs_a_key(host, alone):
    assert is_loopback(host) is alone
    if alone:
        check_listening(Listening(host))
    else:
        with pytest.raises(InputError, match="no key"):
            check_listening(Listening(host))
    check_listening(Listening(host, keys=(KEY,)))


@pytest.mark.parametrize("key", ["short", "x" * 15, "with a space in it...", "Schlüssel-0123456789", "line\n" * 5])
def test_weak_keys_are_refused(key):
    with pytest.raises(InputError, match="key"):
        check_listening(Listening(keys=(key,)))


def test_tls_takes_both_files(tmp_path):
    (tmp_path / "cert.pem").write_text("")
    half = Listening(certificate=tmp_path / "cert.pem")
    with pytest.raises(InputError, match="only one"):
        check_listening(half)
    with pytest.raises(InputError, match="no file"):
        check_listening(replace(half, private_key=tmp_path / "key.pem"))
