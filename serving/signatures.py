"""Ed25519 signatures of archives (RFC 8032), each in a file beside its archive.

A checksum tells a damaged archive, a signature one that somebody else has made: a .mar is code.

    ARCHIVE.mar.sig    {"key": "<16 hex digits>", "signature": "<base64>"}
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from handlers.checksums import sha256_of
from serving.files import write_durably

# Never an argument, which shows in the list of processes.
PASSWORD_VARIABLE = "CATBREEDS_KEY_PASSWORD"  # noqa: S105 - its name
# What is signed says what it is for, so that no other signature of the key can stand for it.
_CONTEXT = b"catbreeds archive v1\n"
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_SIGNATURE_BYTES = 64


class SignatureError(Exception):
    """A key or a signature that cannot be used; the message names the file and what is wrong."""


def generate_key(path: Path) -> Path:
    """Make a pair of keys: `path`, for its owner alone, and `path`.pub.

    The private one is encrypted where $CATBREEDS_KEY_PASSWORD is set.

    Returns:
        The public key's path.

    Raises:
        SignatureError: one of the files is there already; both are left as they are.
        OSError: one cannot be written; none is left behind.
    """
    public_path = Path(f"{path}.pub")
    key = Ed25519PrivateKey.generate()
    password = _password()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _create(path, private, 0o600)
    try:
        _create(public_path, public, 0o644)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return public_path


def sign(archive: Path, key: Path) -> Path:
    """Sign an archive.

    Args:
        key: a private key's file, as `generate_key` writes it.

    Returns:
        ARCHIVE.sig, which replaces an earlier one.

    Raises:
        SignatureError: the key cannot be used, or others can read it.
        OSError: a file cannot be read or written.
    """
    private = _private_key(key)
    said = {
        "key": key_id(private.public_key()),
        "signature": base64.b64encode(private.sign(_message(sha256_of(archive)))).decode(),
    }
    out = signature_file(archive)
    write_durably(out, json.dumps(said) + "\n")
    return out


def check_signature(archive: Path, public_key: Path) -> str:
    """Check that the holder of a key has signed these bytes.

    Returns:
        SHA-256 of the bytes that it was, in hex: the file may be another one by the time that it
        is read again.

    Raises:
        SignatureError: the signature is missing, malformed, of another key or of other bytes; or
            the public key cannot be used.
        OSError: a file cannot be read.
    """
    key, path = _public_key(public_key), signature_file(archive)
    wanted = key_id(key)
    try:
        signed_by, signature = _read(path)
    except FileNotFoundError:
        raise SignatureError(
            f"{path}: is not there; the archive must be signed with key {wanted} ({public_key})"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SignatureError(
            f"{path}: is malformed, not a signature of `catbreeds sign` with key {wanted}"
        ) from None
    if signed_by != wanted:
        raise SignatureError(
            f"{path}: is of key {signed_by}, the archive must be signed with {wanted} "
            f"({public_key})"
        )
    digest = sha256_of(archive)
    try:
        key.verify(signature, _message(digest))
    except InvalidSignature:
        raise SignatureError(
            f"{path}: the signature with key {wanted} is not that of {archive.name} as it is now"
        ) from None
    return digest


def signature_file(archive: Path) -> Path:
    """Where an archive's signature lies."""
    return Path(f"{archive}.sig")


def key_id(key: Ed25519PublicKey) -> str:
    """A short name for a key: the first 16 hex digits of the SHA-256 of its raw 32 bytes."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not be there yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise SignatureError(f"{path}: is there already; keys are not overwritten") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _private_key(path: Path) -> Ed25519PrivateKey:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise SignatureError(f"{path}: others can read it; chmod 600 it, if it is still secret")
        content = file.read()
    # A password for a key that needs none is an error to the library.
    password = _password() if b"ENCRYPTED" in content else None
    try:
        key = serialization.load_pem_private_key(content, password)
    except TypeError:
        raise SignatureError(f"{path}: is encrypted; set ${PASSWORD_VARIABLE}") from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = "is not a private key in PEM"
        if password:
            wrong = f"cannot be decrypted with ${PASSWORD_VARIABLE}"
        raise SignatureError(f"{path}: {wrong}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path}: is not an Ed25519 key")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureError(f"{path}: is not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path}: is not an Ed25519 key")
    return key


def _password() -> bytes | None:
    return os.environb.get(PASSWORD_VARIABLE.encode()) or None


def _read(path: Path) -> tuple[str, bytes]:
    """Key id and signature."""
    said = json.loads(path.read_bytes())
    signature = base64.b64decode(said["signature"], validate=True)
    if not _KEY_ID.fullmatch(said["key"]) or len(signature) != _SIGNATURE_BYTES:
        raise ValueError
    return said["key"], signature


def _message(sha256: str) -> bytes:
    return _CONTEXT + sha256.encode()
