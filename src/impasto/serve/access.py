"""Who may call: API keys, and the addresses that need none. HTTP and gRPC ask the same functions."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from impasto.errors import InputError
from impasto.serve.settings import KeyRefusedError, Listening

LOCAL = "local"
"""The client where there are no keys."""

LEAST_KEY = 16
"""Characters of a key at least."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listening(listening: Listening) -> None:
    """Raise InputError for what must not be served so: an open address without a key, half of TLS, a weak key."""
    if not is_loopback(listening.host) and not listening.keys:
        hint = "set a key in IMPASTO_KEYS, or use --host 127.0.0.1"
        raise InputError(f"{listening.host} can be reached from other machines, and there is no key", hint)
    if any(len(key) < LEAST_KEY or not key.isascii() or not key.isprintable() or " " in key for key in listening.keys):
        raise InputError("a key is too short or has odd characters", f"use {LEAST_KEY} letters and digits or more")
    pair = (listening.certificate, listening.private_key)
    if (pair[0] is None) != (pair[1] is None):
        raise InputError("TLS has only one of certificate and private key", "give both, or neither")
    for path in pair:
        if path is not None and not path.is_file():
            raise InputError(f"there is no file {path}", "name a PEM file")
    if listening.certificate and listening.private_key:
        _check_pair(listening.certificate, listening.private_key)


def _check_pair(certificate: Path, private_key: Path) -> None:
    """Raise InputError where TLS could not be served with these files."""
    try:  # the empty password keeps OpenSSL from asking for one at the terminal
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, private_key, lambda: "")
    except (OSError, ValueError) as error:
        hint = "give PEM files that belong together, the key without a password"
        raise InputError(f"TLS cannot be served with {certificate} and {private_key}", hint) from error


def client_of(keys: Sequence[str], authorization: str | None) -> str:
    """The name of the client that calls.

    Args:
        keys: those that are accepted; none lets everybody in, as `LOCAL`.
        authorization: of the header or metadata: "Bearer KEY".

    Raises:
        KeyRefusedError: there are keys, and this is none of them.
    """
    if not keys:
        return LOCAL
    scheme, _, given = (authorization or "").strip().partition(" ")
    digests = [hashlib.sha256(key.encode()).digest() for key in (given.strip(), *keys)]
    # all are compared, so that the time tells nothing
    matches = [hmac.compare_digest(digests[0], one) for one in digests[1:]]
    if scheme.lower() != "bearer" or not any(matches):
        raise KeyRefusedError("the API key is missing or wrong", "send authorization: Bearer KEY")
    return digests[0].hex()[:16]
