"""EIP-2537's precompiles over arkworks, for the embedded chain. py-evm's own, over py_ecc, take seconds a pairing.

Each function is py-evm's counterpart with the arithmetic replaced: same lengths, same gas (its constants), same
refusals; differential-tested against it. Order of checks as there: length, gas, points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from eth.abc import ComputationAPI
from eth.exceptions import VMError
from eth.precompiles.bls12_381.constants import (
    BLS12_G1_ADD_GAS,
    BLS12_G1_MSM_GAS,
    BLS12_G2_ADD_GAS,
    BLS12_G2_MSM_GAS,
    BLS12_MAP_FP2_G2_GAS,
    BLS12_MAP_FP_G1_GAS,
    G1_MSM_DISCOUNTS,
    G1_MSM_MAX_DISCOUNT,
    G2_MSM_DISCOUNTS,
    G2_MSM_MAX_DISCOUNT,
    MSM_MULTIPLIER,
)
from eth.vm.forks.prague.constants import (
    BLS12_G1ADD_PRECOMPILE_ADDRESS,
    BLS12_G1MSM_PRECOMPILE_ADDRESS,
    BLS12_G2ADD_PRECOMPILE_ADDRESS,
    BLS12_G2MSM_PRECOMPILE_ADDRESS,
    BLS12_MAP_FP2_TO_G2_PRECOMPILE_ADDRESS,
    BLS12_MAP_FP_TO_G1_PRECOMPILE_ADDRESS,
    BLS12_PAIRING_CHECK_PRECOMPILE_ADDRESS,
)
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

_T = TypeVar("_T")

_COORDINATE: Final = 64
_PAD: Final = 16
_G1: Final = 2 * _COORDINATE
_G2: Final = 4 * _COORDINATE
_SCALAR: Final = 32
_PAIR: Final = _G1 + _G2

_PAIRING_BASE_GAS: Final = 37_700  # EIP-2537, "Gas schedule for pairing check"
_PAIRING_PAIR_GAS: Final = 32_600


def g1_add(computation: ComputationAPI) -> None:
    """0x0b: the sum of two points of G1's curve."""
    data = _exactly(computation, 2 * _G1)
    computation.consume_gas(BLS12_G1_ADD_GAS, reason="BLS12_G1ADD")
    computation.output = _wide((_g1_on_curve(data[:_G1]) + _g1_on_curve(data[_G1:])).to_xy_bytes_be())


def g2_add(computation: ComputationAPI) -> None:
    """0x0d: the sum of two points of G2's curve."""
    data = _exactly(computation, 2 * _G2)
    computation.consume_gas(BLS12_G2_ADD_GAS, reason="BLS12_G2ADD")
    computation.output = _wide((_g2_on_curve(data[:_G2]) + _g2_on_curve(data[_G2:])).to_xy_bytes_be())


def g1_msm(computation: ComputationAPI) -> None:
    """0x0c: sum of scalar multiples in G1."""
    parts = list(_slices(computation, _G1 + _SCALAR))
    discount = G1_MSM_DISCOUNTS[len(parts) - 1] if len(parts) <= len(G1_MSM_DISCOUNTS) else G1_MSM_MAX_DISCOUNT
    computation.consume_gas(len(parts) * BLS12_G1_MSM_GAS * discount // MSM_MULTIPLIER, reason="BLS12_G1MSM")
    total = G1Point.identity()
    for part in parts:
        total += _g1(part[:_G1]) * Scalar.from_be_bytes_mod_order(part[_G1:])
    computation.output = _wide(total.to_xy_bytes_be())


def g2_msm(computation: ComputationAPI) -> None:
    """0x0e: sum of scalar multiples in G2."""
    parts = list(_slices(computation, _G2 + _SCALAR))
    discount = G2_MSM_DISCOUNTS[len(parts) - 1] if len(parts) <= len(G2_MSM_DISCOUNTS) else G2_MSM_MAX_DISCOUNT
    computation.consume_gas(len(parts) * BLS12_G2_MSM_GAS * discount // MSM_MULTIPLIER, reason="BLS12_G2MSM")
    total = G2Point.identity()
    for part in parts:
        total += _g2(part[:_G2]) * Scalar.from_be_bytes_mod_order(part[_G2:])
    computation.output = _wide(total.to_xy_bytes_be())


def pairing_check(computation: ComputationAPI) -> None:
    """0x0f: whether the product of pairings is one."""
    parts = list(_slices(computation, _PAIR))
    computation.consume_gas(_PAIRING_BASE_GAS + len(parts) * _PAIRING_PAIR_GAS, reason="BLS12_PAIRING_CHECK")
    holds = GT.pairing_check([_g1(part[:_G1]) for part in parts], [_g2(part[_G1:]) for part in parts])
    computation.output = int(holds).to_bytes(32, "big")


def map_fp_to_g1(computation: ComputationAPI) -> None:
    """0x10: a field element mapped to G1."""
    data = _exactly(computation, _COORDINATE)
    computation.consume_gas(BLS12_MAP_FP_G1_GAS, reason="BLS12_MAP_FP_TO_G1")
    computation.output = _wide(_read(G1Point.map_from_fp_be, data).to_xy_bytes_be())


def map_fp2_to_g2(computation: ComputationAPI) -> None:
    """0x11: an element of the quadratic extension mapped to G2."""
    data = _exactly(computation, 2 * _COORDINATE)
    computation.consume_gas(BLS12_MAP_FP2_G2_GAS, reason="BLS12_MAP_FP2_TO_G2")
    computation.output = _wide(_read(G2Point.map_from_fp2_be, data).to_xy_bytes_be())


BY_ADDRESS: Final[dict[bytes, Callable[[ComputationAPI], None]]] = {
    BLS12_G1ADD_PRECOMPILE_ADDRESS: g1_add,
    BLS12_G1MSM_PRECOMPILE_ADDRESS: g1_msm,
    BLS12_G2ADD_PRECOMPILE_ADDRESS: g2_add,
    BLS12_G2MSM_PRECOMPILE_ADDRESS: g2_msm,
    BLS12_PAIRING_CHECK_PRECOMPILE_ADDRESS: pairing_check,
    BLS12_MAP_FP_TO_G1_PRECOMPILE_ADDRESS: map_fp_to_g1,
    BLS12_MAP_FP2_TO_G2_PRECOMPILE_ADDRESS: map_fp2_to_g2,
}


def _exactly(computation: ComputationAPI, size: int) -> bytes:
    data = bytes(computation.msg.data)
    if len(data) != size:
        raise VMError(f"input must have {size} bytes")
    return data


def _slices(computation: ComputationAPI, size: int) -> Iterator[bytes]:
    data = bytes(computation.msg.data)
    if not data or len(data) % size:
        raise VMError(f"input must be a positive multiple of {size} bytes")
    return (data[start : start + size] for start in range(0, len(data), size))


def _g1(data: bytes) -> G1Point:
    """In the subgroup, as MSM and pairing need it."""
    return _read(G1Point.from_xy_bytes_be, data)


def _g2(data: bytes) -> G2Point:
    return _read(G2Point.from_xy_bytes_be, data)


def _g1_on_curve(data: bytes) -> G1Point:
    """On the curve only: EIP-2537 checks no subgroup on additions."""
    return _read(G1Point.from_xy_bytes_unchecked_be, data)


def _g2_on_curve(data: bytes) -> G2Point:
    return _read(G2Point.from_xy_bytes_unchecked_be, data)


def _read(reader: Callable[[bytes], _T], data: bytes) -> _T:
    """Strip the padding of each coordinate, then read; arkworks refuses what is not below the prime."""
    parts = [data[start : start + _COORDINATE] for start in range(0, len(data), _COORDINATE)]
    if any(any(part[:_PAD]) for part in parts):
        raise VMError("a coordinate is out of range")
    try:
        return reader(b"".join(part[_PAD:] for part in parts))
    except ValueError as error:
        raise VMError("not a point of the curve or of its subgroup") from error


def _wide(coordinates: bytes) -> bytes:
    step = _COORDINATE - _PAD
    return b"".join(bytes(_PAD) + coordinates[start : start + step] for start in range(0, len(coordinates), step))
