"""Only what the key has signed passes, and a key that others could have is not used."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.signatures import (
    PASSWORD_VARIABLE,
    SignatureError,
    check_signature,
    generate_key,
    sign,
    signature_file,
)


@pytest.fixture(autouse=True)
def no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "cat-breeds-0.2.mar"
    path.write_bytes(os.urandom(3_000_000))
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "release.key"
    assert generate_key(path) == public(path)
    return path


def public(key: Path) -> Path:
    return Path(f"{key}.pub")


def refused(archive: Path, key: Path) -> str:
    """What is said against the signature."""
    with pytest.raises(SignatureError) as raised:
        check_signature(archive, public(key))
    return str(raised.value)


def id_of(archive: Path) -> str:
    return str(json.loads(signature_file(archive).read_text())["key"])


def test_what_was_signed_passes(archive: Path, key: Path) -> None:
    assert sign(archive, key) == signature_file(archive)
    assert signature_file(archive).name == "cat-breeds-0.2.mar.sig"
    check_signature(archive, public(key))


def test_the_private_key_is_for_its_owner_alone(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(public(key).stat().st_mode) == 0o644
    assert b"PRIVATE" not in public(key).read_bytes()


def test_keys_are_not_overwritten(key: Path) -> None:
    before = key.read_bytes(), public(key).read_bytes()
    with pytest.raises(SignatureError, match=r"release\.key: is there already"):
        generate_key(key)
    assert (key.read_bytes(), public(key).read_bytes()) == before
    key.unlink()
    with pytest.raises(SignatureError, match=r"release\.key\.pub: is there already"):
        generate_key(key)
    assert not key.exists()
    assert public(key).read_bytes() == before[1]


@pytest.mark.parametrize("place", [0, 1_500_000, -1])
def test_a_changed_byte_is_seen(archive: Path, key: Path, place: int) -> None:
    sign(archive, key)
    content = bytearray(archive.read_bytes())
    content[place] ^= 1
    archive.write_bytes(content)
    said = refused(archive, key)
    assert str(signature_file(archive)) in said
    assert id_of(archive) in said
    assert "not that of cat-breeds-0.2.mar" in said


def test_a_signature_that_is_missing(archive: Path, key: Path) -> None:
    said = refused(archive, key)
    assert "cat-breeds-0.2.mar.sig: is not there" in said
    sign(archive, key)
    assert id_of(archive) in said


def test_the_signature_of_another_key(archive: Path, key: Path, tmp_path: Path) -> None:
    sign(archive, key)
    ours = id_of(archive)
    theirs = tmp_path / "theirs.key"
    generate_key(theirs)
    sign(archive, theirs)
    said = refused(archive, key)
    assert f"is of key {id_of(archive)}" in said
    assert ours in said


def test_another_key_that_pretends_to_be_ours(archive: Path, key: Path, tmp_path: Path) -> None:
    sign(archive, key)
    ours = id_of(archive)
    generate_key(tmp_path / "theirs.key")
    path = sign(archive, tmp_path / "theirs.key")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": ours}))
    assert "the signature with key" in refused(archive, key)


def test_what_is_signed_is_the_checksum_and_what_it_is_for(archive: Path, key: Path) -> None:
    """So that later versions take it as well, and nothing that was signed for another purpose."""
    path = sign(archive, key)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest().encode()
    signature = base64.b64decode(json.loads(path.read_text())["signature"])
    assert signature == private.sign(b"catbreeds archive v1\n" + digest)
    for other in (digest, archive.read_bytes()):
        said = {"key": id_of(archive), "signature": base64.b64encode(private.sign(other)).decode()}
        path.write_text(json.dumps(said))
        assert "the signature with key" in refused(archive, key)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"key": "0123456789abcdef"}',
        b'{"key": "0123456789abcdef", "signature": "?"}',
        b'{"key": "0123456789abcdef", "signature": "AAAA"}',
        b'{"key": "0123456789abcdef", "signature": 7}',
        b'{"key": 7, "signature": "' + b"A" * 86 + b'=="}',
        b'{"key": "\\u001b[31m", "signature": "' + b"A" * 86 + b'=="}',
    ],
)
def test_a_malformed_signature(archive: Path, key: Path, content: bytes) -> None:
    signature_file(archive).write_bytes(content)
    said = refused(archive, key)
    assert "cat-breeds-0.2.mar.sig: is malformed" in said
    assert said.isprintable()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644])
def test_a_private_key_that_others_can_read(archive: Path, key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(SignatureError, match="others can read it"):
        sign(archive, key)
    assert not signature_file(archive).exists()


def test_an_encrypted_key(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "encrypted.key"
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct hörse")
    generate_key(key)
    assert b"ENCRYPTED" in key.read_bytes()
    sign(archive, key)
    check_signature(archive, public(key))
    monkeypatch.setenv(PASSWORD_VARIABLE, "battery staple")
    with pytest.raises(SignatureError, match=f"cannot be decrypted with .{PASSWORD_VARIABLE}") as e:
        sign(archive, key)
    assert "battery" not in str(e.value)
    monkeypatch.delenv(PASSWORD_VARIABLE)
    with pytest.raises(SignatureError, match=f"is encrypted; set .{PASSWORD_VARIABLE}"):
        sign(archive, key)


def test_a_password_is_no_harm_to_a_key_without(
    archive: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "left over")
    sign(archive, key)
    check_signature(archive, public(key))


def test_only_ed25519(archive: Path, key: Path) -> None:
    sign(archive, key)
    other = rsa.generate_private_key(65537, 2048)
    key.write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public(key).write_bytes(
        other.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(SignatureError, match=r"release\.key: is not an Ed25519 key"):
        sign(archive, key)
    assert "release.key.pub: is not an Ed25519 key" in refused(archive, key)


def test_the_keys_mistaken_for_each_other(archive: Path, key: Path) -> None:
    secret = key.read_text()
    public(key).chmod(0o600)
    with pytest.raises(SignatureError, match="is not a private key"):
        sign(archive, public(key))
    with pytest.raises(SignatureError, match="is not a public key") as raised:
        check_signature(archive, key)
    assert secret.splitlines()[1] not in str(raised.value)
