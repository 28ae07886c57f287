"""A vendor's keys: kept encrypted, never overwritten, never let slip."""

from __future__ import annotations

import copy
import pickle
import stat
from pathlib import Path

import pytest

from twinward.client import VendorKeys
from twinward.client.keys import Stretching
from twinward.core.errors import BadInput, Conflict
from twinward_crypto.disclosure import seal_to
from twinward_crypto.errors import OpenError
from twinward_crypto.padding import pad

PASSPHRASE = "correct horse battery"
CHEAP = Stretching(memory_kib=64, iterations=1, lanes=1)
CONTEXT = {"info": b"records", "aad": b"a handle"}


@pytest.fixture(scope="module", params=[False, True], ids=["hybrid", "classical"])
def keys(request: pytest.FixtureRequest) -> VendorKeys:
    return VendorKeys.generate(classical=request.param)


def test_what_is_sealed_to_them_opens_after_a_round_trip(keys: VendorKeys, tmp_path: Path) -> None:
    keys.save(tmp_path / "keys", PASSPHRASE, stretching=CHEAP)
    back = VendorKeys.load(tmp_path / "keys", PASSPHRASE)
    assert (back.public, back.fingerprint) == (keys.public, keys.fingerprint)
    sealed = seal_to(keys.public, pad(b"a record"), **CONTEXT)
    assert back.open(sealed, **CONTEXT) == b"a record"
    with pytest.raises(OpenError):
        back.open(sealed, info=b"records", aad=b"another handle")
    with pytest.raises(OpenError):
        VendorKeys.generate().open(sealed, **CONTEXT)


def test_the_private_half_is_in_no_file_and_no_representation(keys: VendorKeys, tmp_path: Path) -> None:
    keys.save(tmp_path / "keys", PASSPHRASE, stretching=CHEAP)
    private = keys._pair.private
    written = (tmp_path / "keys").read_bytes()
    assert private[1:] not in written
    assert private[-32:] not in written
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    assert private.hex()[2:34] not in repr(keys) + repr(vars(keys))
    for slip in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            slip(keys)


def test_a_key_is_never_overwritten(keys: VendorKeys, tmp_path: Path) -> None:
    keys.save(tmp_path / "keys", PASSPHRASE, stretching=CHEAP)
    before = (tmp_path / "keys").read_bytes()
    with pytest.raises(Conflict, match="never overwritten"):
        keys.save(tmp_path / "keys", PASSPHRASE, stretching=CHEAP)
    assert (tmp_path / "keys").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]


def test_bad_places_and_passphrases_are_named(keys: VendorKeys, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 12"):
        keys.save(tmp_path / "keys", "short")
    with pytest.raises(BadInput, match="cannot be written"):
        keys.save(tmp_path / "no" / "keys", PASSPHRASE, stretching=CHEAP)
    with pytest.raises(BadInput, match="cannot be read"):
        VendorKeys.load(tmp_path / "none", PASSPHRASE)


def test_a_wrong_passphrase_and_an_altered_file_look_alike(keys: VendorKeys, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys.save(file, PASSPHRASE, stretching=CHEAP)
    good = file.read_bytes()
    messages = set()
    places = [14, 31, 40, len(good) - 40, len(good) - 1]
    for altered in [None, *places]:
        data = bytearray(good)
        if altered is not None:
            data[altered] ^= 1
        file.write_bytes(bytes(data))
        with pytest.raises(BadInput) as error:
            VendorKeys.load(file, PASSPHRASE if altered is not None else PASSPHRASE + "!")
        messages.add(str(error.value))
    assert len(messages) == 1


@pytest.mark.parametrize(
    "content", [b"", b"TWVK", b"x" * 5000, b"TWVK\x01" + bytes(400), b"TWVK\x01\xff" + b"\xff" * 400]
)
def test_what_is_no_key_file_is_refused_before_anything_is_spent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(BadInput, match="no vendor's key file"):
        VendorKeys.load(tmp_path / "keys", PASSPHRASE)
