"""One stay as bytes, files of stays, and the synthetic generator."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from twinward.core.errors import BadInput
from twinward.features.icu_signals import SIGNALS
from twinward.features.monitored_stays import VOCABULARY_HASH, BadStay, column, decode_stay, encode_stay, load_stays
from twinward.federation.stays.simulated import simulate_stays


def small() -> np.ndarray:
    stay = np.full((3, 24), np.nan, np.float32)
    stay[0, 0], stay[2, 23], stay[1, 5] = 81.5, 2.25, -0.0
    return stay


def test_layout_is_what_the_docstring_says() -> None:
    bitmap = np.zeros(72, np.uint8)
    bitmap[[0, 24 + 5, 48 + 23]] = 1
    expected = b"TWM1" + struct.pack(">HH", 3, 24) + VOCABULARY_HASH + np.packbits(bitmap).tobytes()
    assert encode_stay(small()) == expected + struct.pack("<3f", 81.5, -0.0, 2.25)


@pytest.mark.parametrize("hours", [1, 3, 48, 1024])
def test_round_trip_is_exact(hours: int) -> None:
    stay = simulate_stays(1, seed=hours, hours=hours)[0]
    assert decode_stay(encode_stay(stay)).tobytes() == np.where(np.isnan(stay), np.float32(np.nan), stay).tobytes()


def test_every_truncation_and_extension_is_refused() -> None:
    encoded = encode_stay(small())
    for length in range(len(encoded)):
        with pytest.raises(BadStay):
            decode_stay(encoded[:length])
    with pytest.raises(BadStay, match="length"):
        decode_stay(encoded + b"\0")


@pytest.mark.parametrize(
    ("desc", "at", "value"),
    [
        ("magic", 0, b"TWM2"),
        ("no hours", 4, b"\0\0"),
        ("more hours than bytes", 4, b"\x04\x00"),
        ("too many hours", 4, b"\xff\xff"),
        ("other signals", 6, b"\0\x19"),
        ("other vocabulary", 8, b"\0" * 8),
        ("one more bit", 16, b"\xff"),
        ("infinite", -4, struct.pack("<f", float("inf"))),
        ("not a number", -4, struct.pack("<f", float("nan"))),
    ],
)
def test_altered_bytes_are_refused(desc: str, at: int, value: bytes) -> None:
    encoded = bytearray(encode_stay(small()))
    at = at % len(encoded)
    encoded[at : at + len(value)] = value
    with pytest.raises(BadStay):
        decode_stay(bytes(encoded))


def test_padding_bits_are_zero() -> None:
    encoded = bytearray(encode_stay(np.full((1, 24), np.nan, np.float32)))
    assert len(encoded) == 16 + 3  # 24 cells: no padding; so pad by hand with a claimed value
    encoded[-1] |= 1
    with pytest.raises(BadStay):
        decode_stay(bytes(encoded))


@pytest.mark.parametrize(
    "stay",
    [
        np.zeros((3, 24)),
        np.zeros(24, np.float32),
        np.zeros((0, 24), np.float32),
        np.zeros((1025, 24), np.float32),
        np.zeros((3, 23), np.float32),
        np.full((3, 24), np.inf, np.float32),
    ],
)
def test_what_is_no_stay_is_not_encoded(stay: np.ndarray) -> None:
    with pytest.raises(BadStay):
        encode_stay(stay)


def test_signals_carry_distinct_codes_and_can_be_looked_up() -> None:
    assert len(SIGNALS) == 24
    assert len({signal.loinc for signal in SIGNALS}) == 24
    assert all(signal.half_range > 0 for signal in SIGNALS)
    assert column("Mg") == 23
    with pytest.raises(BadStay, match="HeartBeat"):
        column("HeartBeat")


def test_files_of_stays(tmp_path: Path) -> None:
    stays = simulate_stays(5, seed=1)
    np.savez(tmp_path / "two.npz", Xa=stays[:2], Xb=stays[2:], Ya=np.zeros(2))
    assert np.array_equal(load_stays(tmp_path / "two.npz"), stays, equal_nan=True)


def test_files_that_hold_no_stays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadStay, match="cannot read"):
        load_stays(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(BadStay, match="cannot read"):
        load_stays(tmp_path / "text.npz")
    for name, array in {
        "nothing": np.zeros(3),
        "Xa": np.zeros((2, 48, 24)),
        "Xb": np.zeros((2, 48, 23), np.float32),
        "stays": np.full((2, 48, 24), np.inf, np.float32),
    }.items():
        np.savez(tmp_path / "wrong.npz", **{name: array})
        with pytest.raises(BadStay):
            load_stays(tmp_path / "wrong.npz")
    np.savez(tmp_path / "pickled.npz", Xa=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadStay):
        load_stays(tmp_path / "pickled.npz")


def test_real_stays_round_trip(shared_data: Path) -> None:
    stays = load_stays(shared_data / "icu-stays-2012.npz")
    assert stays.shape == (8000, 48, 24)
    for stay in stays[::400]:
        assert np.array_equal(decode_stay(encode_stay(stay)), stay, equal_nan=True)


def test_the_generator_repeats_itself_and_answers_to_its_seed() -> None:
    assert np.array_equal(simulate_stays(4, 7), simulate_stays(4, 7), equal_nan=True)
    assert not np.array_equal(simulate_stays(4, 7), simulate_stays(4, 8), equal_nan=True)


def test_simulated_physiology_hangs_together() -> None:
    stays = simulate_stays(400, 3)
    at = {signal.name: stays[:, :, index] for index, signal in enumerate(SIGNALS)}
    pressures = ~np.isnan(at["MAP"] + at["SysABP"] + at["DiasABP"])
    assert (at["SysABP"] > at["DiasABP"])[pressures].all()
    predicted = at["DiasABP"] + (at["SysABP"] - at["DiasABP"]) / 3
    assert np.corrcoef(predicted[pressures], at["MAP"][pressures])[0, 1] > 0.9
    charted = ~np.isnan(stays)
    assert 0.8 < charted[:, :, column("HR")].mean() < 1
    assert 0.02 < charted[:, :, column("Creatinine")].mean() < 0.15
    assert not np.isnan(at["Creatinine"]).all(1).any()  # everybody has blood drawn once
    healthy, ill = simulate_stays(400, 3, severity=0.05), simulate_stays(400, 3, severity=0.9)
    assert np.nanmean(ill[:, :, column("Lactate")]) > np.nanmean(healthy[:, :, column("Lactate")]) + 0.5


@pytest.mark.parametrize("arguments", [{"count": 0}, {"hours": 0}, {"hours": 2000}, {"severity": 1.5}])
def test_the_generator_refuses_what_it_cannot_make(arguments: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="simulated stays"):
        simulate_stays(**({"count": 3, "seed": 1} | arguments))
