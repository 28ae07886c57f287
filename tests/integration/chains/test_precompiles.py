"""The embedded chain's precompiles against py-evm's own (over py_ecc): same answers, same gas, same refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from eth import precompiles as reference
from eth.exceptions import VMError
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.fields import optimized_bls12_381_FQ2 as Pair
from py_ecc.fields import optimized_bls12_381_FQ12 as Element
from py_ecc.fields.optimized_field_elements import FQP
from py_ecc.optimized_bls12_381 import G1, G2, curve_order, field_modulus, multiply, neg, normalize

from tests.vectors.bls import stray_key, stray_signature
from tests.vectors.bls_solidity import read_g1, read_g2
from twinward_ledger.chains import _precompiles as fast
from twinward_ledger.chains._py_ecc import _inverse

INFINITY_1, INFINITY_2 = bytes(128), bytes(256)
PAIRS = {
    "g1_add": (fast.g1_add, reference.bls12_g1_add),
    "g2_add": (fast.g2_add, reference.bls12_g2_add),
    "g1_msm": (fast.g1_msm, reference.bls12_g1_msm),
    "g2_msm": (fast.g2_msm, reference.bls12_g2_msm),
    "pairing_check": (fast.pairing_check, reference.bls12_pairing_check),
    "map_fp_to_g1": (fast.map_fp_to_g1, reference.bls12_map_fp_to_g1),
    "map_fp2_to_g2": (fast.map_fp2_to_g2, reference.bls12_map_fp2_to_g2),
}


@dataclass
class Call:
    """As much of a computation as a precompile sees."""

    data: bytes
    gas: int = 0
    output: bytes = b""
    msg: Any = field(init=False)

    def __post_init__(self) -> None:
        self.msg = SimpleNamespace(data=self.data)

    def consume_gas(self, amount: int, reason: str) -> None:
        self.gas += amount


def run(function: Callable[[Any], Any], data: bytes) -> tuple[str, bytes, int]:
    call = Call(data)
    try:
        function(call)
    except VMError:
        return "refused", b"", 0
    return "answered", call.output, call.gas


def same(name: str, data: bytes) -> tuple[str, bytes, int]:
    ours, theirs = PAIRS[name]
    answer = run(ours, data)
    assert answer == run(theirs, data)
    return answer


def g1(scalar: int) -> bytes:
    scalar %= curve_order
    if not scalar:
        return INFINITY_1
    x, y = normalize(multiply(G1, scalar))
    return int(x).to_bytes(64, "big") + int(y).to_bytes(64, "big")


def g2(scalar: int) -> bytes:
    scalar %= curve_order
    if not scalar:
        return INFINITY_2
    x, y = normalize(multiply(G2, scalar))
    return b"".join(int(part).to_bytes(64, "big") for part in (*x.coeffs, *y.coeffs))


small = st.integers(0, 6)
words = st.one_of(st.integers(0, 3), st.sampled_from([curve_order - 1, curve_order, curve_order + 1, 2**256 - 1]))


@settings(max_examples=15)
@given(small, small)
def test_additions(a: int, b: int) -> None:
    assert same("g1_add", g1(a) + g1(b))[1] == g1(a + b)
    assert same("g2_add", g2(a) + g2(b))[1] == g2(a + b)
    assert same("g1_add", g1(a) + g1(-a))[1] == INFINITY_1


@settings(max_examples=6)
@given(st.lists(st.tuples(small, words), min_size=1, max_size=3))
def test_multi_scalar_multiplications(terms: list[tuple[int, int]]) -> None:
    expected = sum(point * scalar for point, scalar in terms)
    data = b"".join(g1(point) + scalar.to_bytes(32, "big") for point, scalar in terms)
    assert same("g1_msm", data)[1] == g1(expected)
    data = b"".join(g2(point) + scalar.to_bytes(32, "big") for point, scalar in terms)
    assert same("g2_msm", data)[1] == g2(expected)


@pytest.mark.parametrize(
    ("pairs", "holds"),
    [
        ([(2, 3), (-6, 1)], True),
        ([(2, 3), (-5, 1)], False),
        ([(0, 3)], True),
        ([(3, 0)], True),
        ([(1, 1)], False),
    ],
)
def test_pairings(pairs: list[tuple[int, int]], holds: bool) -> None:
    answer = same("pairing_check", b"".join(g1(a) + g2(b) for a, b in pairs))
    assert answer[1] == int(holds).to_bytes(32, "big")


@settings(max_examples=4)
@given(st.integers(0, field_modulus - 1), st.integers(0, field_modulus - 1))
def test_maps_to_the_curves(a: int, b: int) -> None:
    assert same("map_fp_to_g1", a.to_bytes(64, "big"))[0] == "answered"
    assert same("map_fp2_to_g2", a.to_bytes(64, "big") + b.to_bytes(64, "big"))[0] == "answered"


@pytest.mark.parametrize("element", [0, 1, field_modulus - 1])
def test_maps_at_the_edges(element: int) -> None:
    assert same("map_fp_to_g1", element.to_bytes(64, "big"))[0] == "answered"
    assert same("map_fp2_to_g2", element.to_bytes(64, "big") + bytes(64))[0] == "answered"


OFF_CURVE_1 = g1(1)[:-1] + bytes([g1(1)[-1] ^ 1])
OFF_CURVE_2 = g2(1)[:-1] + bytes([g2(1)[-1] ^ 1])
ABOVE = (field_modulus + 1).to_bytes(64, "big")
STRAY_1, STRAY_2 = read_g1(stray_key()), read_g2(stray_signature())
ONE = (1).to_bytes(32, "big")
REFUSED = [
    *((name, b"") for name in PAIRS),
    *((name, bytes(1)) for name in PAIRS),
    *((name, bytes(1000)) for name in PAIRS),
    ("g1_add", g1(1)),
    ("g1_add", OFF_CURVE_1 + g1(1)),
    ("g1_add", ABOVE + g1(1)[64:] + g1(1)),
    ("g1_add", b"\x01" + g1(1)[1:] + g1(1)),
    ("g2_add", OFF_CURVE_2 + g2(1)),
    ("g2_add", ABOVE + g2(1)[64:] + g2(1)),
    ("g1_msm", STRAY_1 + ONE),
    ("g1_msm", STRAY_1 + bytes(32)),
    ("g1_msm", OFF_CURVE_1 + ONE),
    ("g2_msm", STRAY_2 + ONE),
    ("g2_msm", OFF_CURVE_2 + ONE),
    ("pairing_check", STRAY_1 + g2(1)),
    ("pairing_check", g1(1) + STRAY_2),
    ("pairing_check", OFF_CURVE_1 + g2(1)),
    ("pairing_check", g1(1) + OFF_CURVE_2),
    ("map_fp_to_g1", ABOVE),
    ("map_fp_to_g1", field_modulus.to_bytes(64, "big")),
    ("map_fp2_to_g2", bytes(64) + ABOVE),
    ("map_fp2_to_g2", ABOVE + bytes(64)),
]


@pytest.mark.parametrize(("name", "data"), REFUSED)
def test_refusals(name: str, data: bytes) -> None:
    assert same(name, data)[0] == "refused"


def test_additions_check_no_subgroup() -> None:
    """EIP-2537 leaves it out of additions on purpose."""
    assert same("g1_add", STRAY_1 + g1(1))[0] == "answered"
    assert same("g2_add", STRAY_2 + g2(1))[0] == "answered"


def test_py_evm_has_no_precompile_of_the_family_that_is_not_replaced() -> None:
    from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES

    family = {address for address, function in PRAGUE_PRECOMPILES.items() if function.__name__.startswith("bls12")}
    assert {address.rjust(20, b"\x00") for address in fast.BY_ADDRESS} == family


def test_generators_agree() -> None:
    x, y = normalize(neg(G1))
    assert g1(-1) == int(x).to_bytes(64, "big") + int(y).to_bytes(64, "big")


def test_no_power_is_another_for_being_taken_once() -> None:
    for coefficients in ([1], [0, 1], [0, 0, 0, 0, 0, 1], [0, 0, 2], [1, 1], [0]):
        element = Element([*coefficients, *[0] * (12 - len(coefficients))])
        for exponent in (0, 2, 3, field_modulus):
            assert element**exponent == FQP.__pow__(element, exponent)
    eighth = (field_modulus**2 - 1) // 8
    for pair in (Pair([1, 1]), Pair([1, 2]), Pair([0, 1])):
        for exponent in (0, 1, 7, *(k * eighth for k in range(10)), eighth + 1):
            assert pair**exponent == FQP.__pow__(pair, exponent)
    for one in (Element, Pair):
        assert one.__pow__ is not FQP.__pow__


def test_inverses_are_inverses_and_that_of_nothing_is_nothing() -> None:
    for one in (1, 2, -3, field_modulus - 1, field_modulus + 5, 2**400):
        assert _inverse(one, field_modulus) * one % field_modulus == 1
    assert [_inverse(one, field_modulus) for one in (0, field_modulus, -field_modulus)] == [0, 0, 0]
