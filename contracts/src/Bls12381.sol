// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title BLS signatures on BLS12-381 through the precompiles of EIP-2537
/// @notice Minimal public keys (G1), signatures in G2, proof of possession: the suite of
/// draft-irtf-cfrg-bls-signature-05 whose messages are hashed by RFC 9380's BLS12381G2_XMD:SHA-256_SSWU_RO_.
/// @dev Points are uncompressed: 64 big-endian bytes a coordinate, 128 bytes in G1, 256 in G2, infinity all zero.
/// A chain without the precompiles answers a call to them with success and no data, so every answer's length is
/// checked and `probe` runs a known answer at deployment. The pairing precompile itself checks that each point is
/// canonical, on its curve and in its subgroup.
library Bls12381 {
    /// A precompile failed (malformed point, or out of gas) or gave back another number of bytes than it must.
    error PrecompileFailed(address precompile, uint256 returnedBytes);
    /// This chain's precompiles don't give the known answers.
    error PrecompilesUnusable();
    /// A point has the wrong number of bytes.
    error MalformedPoint(uint256 expectedBytes, uint256 gotBytes);
    /// A key, or a sum of keys, is the point at infinity, under which anything verifies.
    error PointAtInfinity();

    string internal constant SIGNATURE_DST = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
    string internal constant POSSESSION_DST = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

    uint256 internal constant G1_BYTES = 128;
    uint256 internal constant G2_BYTES = 256;

    address private constant MODEXP = address(0x05);
    address private constant G1_ADD = address(0x0b);
    address private constant G2_ADD = address(0x0d);
    address private constant PAIRING_CHECK = address(0x0f);
    address private constant MAP_FP2_TO_G2 = address(0x11);

    /// The field's prime, 64 bytes.
    // Coordinates of 381 bits in 64 bytes each: the digits are the curve's own.
    // slither-disable-next-line too-many-digits
    bytes private constant PRIME =
        hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    /// (p - 1) / 2 in two words: a y above it has the sign flag in compressed form.
    uint256 private constant HALF_PRIME_HIGH = 0x0d0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_PRIME_LOW = 0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;

    /// The generator of G1, negated.
    // Coordinates of 381 bits in 64 bytes each: the digits are the curve's own.
    // slither-disable-next-line too-many-digits
    bytes private constant MINUS_G1 =
        hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f267816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca";

    /// The key and signature of the seed of 32 zero bytes over PROBE_MESSAGE, made by an independent implementation.
    // Coordinates of 381 bits in 64 bytes each: the digits are the curve's own.
    // slither-disable-next-line too-many-digits
    bytes private constant PROBE_KEY =
        hex"000000000000000000000000000000000695ad325dfc7e1191fbc9f186f58eff42a634029731b18380ff89bf42c464a42cb8ca55b200f051f57f1e1893c687590000000000000000000000000000000010ea7912ef7a227c01298a7c7a96b1851b23021741c71938f39638b1d368aaa621452426b5d8199773a2cb5b2743a5da";
    // Coordinates of 381 bits in 64 bytes each: the digits are the curve's own.
    // slither-disable-next-line too-many-digits
    bytes private constant PROBE_SIGNATURE =
        hex"00000000000000000000000000000000107b88e6d4c16257065736484a92e1b4a042eed4fce9294984ef454adbbc0090c66e0a164b448e82cfad41d6dd7e69a50000000000000000000000000000000006ab8618c8ba029acd3d1c6ad137ea92ac22d103dee716629d3f9bae0e3cdac5a64fb20633fa948a1f8c15935ae43496000000000000000000000000000000000cae91c14a8f3943bd22b4e39e1fab6b3eaad007e12468f1ea7225f040a4a6944a73434f88a001da705861f4a6bef2a0000000000000000000000000000000001353224d673b7fa013f379c9a45ec27819edcaaed7cb63a8caaf34f6e6a6cf635e6d0150e2c2e3f8aef0756fbc51a4c1";
    bytes private constant PROBE_MESSAGE = "twinward precompile probe";

    /// @notice Reverts unless this chain's precompiles accept a known signature and refuse an altered message.
    function probe() internal view {
        bytes memory sum = addG1(PROBE_KEY, negateG1(PROBE_KEY));
        bool good = isInfinityG1(sum) && isSignature(PROBE_KEY, PROBE_MESSAGE, PROBE_SIGNATURE, SIGNATURE_DST);
        if (!good || isSignature(PROBE_KEY, "altered", PROBE_SIGNATURE, SIGNATURE_DST)) revert PrecompilesUnusable();
    }

    /// @notice Whether a signature is this key's over this message: e(key, H(message)) * e(-g1, signature) = 1.
    /// @dev Reverts for a malformed point and for a key at infinity. A signature at infinity needs no check of its
    /// own: it would satisfy the equation only for a key at infinity.
    function isSignature(bytes memory key, bytes memory message, bytes memory signature, string memory dst)
        internal
        view
        returns (bool)
    {
        if (key.length != G1_BYTES) revert MalformedPoint(G1_BYTES, key.length);
        if (signature.length != G2_BYTES) revert MalformedPoint(G2_BYTES, signature.length);
        if (isInfinityG1(key)) revert PointAtInfinity();
        bytes memory pairs = bytes.concat(key, hashToG2(message, dst), MINUS_G1, signature);
        return uint256(bytes32(_call(PAIRING_CHECK, pairs, 32))) == 1;
    }

    /// @notice The sum of two points of G1's curve (the subgroup is not checked here, the pairing does).
    function addG1(bytes memory a, bytes memory b) internal view returns (bytes memory) {
        return _call(G1_ADD, bytes.concat(a, b), G1_BYTES);
    }

    /// @notice Whether a point of 128 bytes is infinity.
    // Assembly: four words of a `bytes` are read where they lie; its length is the caller's to check.
    // slither-disable-next-line assembly
    function isInfinityG1(bytes memory point) internal pure returns (bool infinity) {
        assembly ("memory-safe") {
            let words :=
                or(or(mload(add(point, 32)), mload(add(point, 64))), or(mload(add(point, 96)), mload(add(point, 128))))
            infinity := iszero(words)
        }
    }

    /// @notice The 48-byte compressed form that proofs of possession sign (ZCash's flags).
    /// @dev Of no use for infinity, which every caller refuses.
    function compressG1(bytes memory point) internal pure returns (bytes memory) {
        if (point.length != G1_BYTES) revert MalformedPoint(G1_BYTES, point.length);
        (uint256 xHigh, uint256 xLow, uint256 yHigh, uint256 yLow) = _coordinates(point);
        uint256 flags = 1 << 127;
        if (yHigh > HALF_PRIME_HIGH || (yHigh == HALF_PRIME_HIGH && yLow > HALF_PRIME_LOW)) flags |= 1 << 125;
        // forge-lint: disable-next-line(unsafe-typecast)
        return abi.encodePacked(uint128(xHigh | flags), xLow);
    }

    /// @notice RFC 9380's hash_to_curve for G2 with SHA-256.
    function hashToG2(bytes memory message, string memory dst) internal view returns (bytes memory) {
        bytes memory uniform = expandMessage(message, dst);
        bytes memory first = bytes.concat(_reduce(uniform, 0), _reduce(uniform, 64));
        bytes memory second = bytes.concat(_reduce(uniform, 128), _reduce(uniform, 192));
        return _call(
            G2_ADD,
            bytes.concat(_call(MAP_FP2_TO_G2, first, G2_BYTES), _call(MAP_FP2_TO_G2, second, G2_BYTES)),
            G2_BYTES
        );
    }

    /// @notice RFC 9380's expand_message_xmd with SHA-256 to 256 bytes (two elements of Fp2).
    // Assembly: each digest is written into place; `uniform` has room for all eight.
    // slither-disable-next-line assembly
    function expandMessage(bytes memory message, string memory dst) internal pure returns (bytes memory uniform) {
        // Only this library's two tags and the vectors' come here: all shorter than the 256 bytes that need hashing.
        bytes memory dstPrime = abi.encodePacked(dst, uint8(bytes(dst).length));
        bytes32 b0 = sha256(abi.encodePacked(bytes32(0), bytes32(0), message, uint16(256), uint8(0), dstPrime));
        bytes32 bi;
        uniform = new bytes(256);
        for (uint256 i = 1; i <= 8; ++i) {
            // bi starts as zero, so the first round hashes b0 itself, as the RFC has it.
            // forge-lint: disable-next-line(unsafe-typecast)
            bi = sha256(abi.encodePacked(b0 ^ bi, uint8(i), dstPrime));
            assembly ("memory-safe") {
                mstore(add(uniform, mul(i, 32)), bi)
            }
        }
    }

    /// @notice (x, -y), for a point other than infinity.
    function negateG1(bytes memory point) internal pure returns (bytes memory) {
        (uint256 xHigh, uint256 xLow, uint256 yHigh, uint256 yLow) = _coordinates(point);
        (uint256 pHigh, uint256 pLow) = (uint256(bytes32(PRIME)), _secondWord(PRIME));
        unchecked {
            uint256 low = pLow - yLow;
            return abi.encode(xHigh, xLow, pHigh - yHigh - (yLow > pLow ? 1 : 0), low);
        }
    }

    /// 64 bytes of `data` modulo the prime, by raising them to the power of one.
    // Assembly: copies 64 of the 256 bytes that `expandMessage` made; every offset is a constant here.
    // slither-disable-next-line assembly
    function _reduce(bytes memory data, uint256 offset) private view returns (bytes memory) {
        bytes memory base = new bytes(64);
        assembly ("memory-safe") {
            mcopy(add(base, 32), add(add(data, 32), offset), 64)
        }
        return _call(MODEXP, abi.encodePacked(uint256(64), uint256(1), uint256(64), base, uint8(1), PRIME), 64);
    }

    // Precompiles have no interface to call through; success and the exact length are both required here.
    // slither-disable-next-line low-level-calls
    function _call(address precompile, bytes memory input, uint256 expected) private view returns (bytes memory) {
        (bool ok, bytes memory output) = precompile.staticcall(input);
        if (!ok || output.length != expected) revert PrecompileFailed(precompile, output.length);
        return output;
    }

    function _coordinates(bytes memory point) private pure returns (uint256, uint256, uint256, uint256) {
        return abi.decode(point, (uint256, uint256, uint256, uint256));
    }

    // Assembly: reads the second word of `PRIME`, which has 64 bytes.
    // slither-disable-next-line assembly
    function _secondWord(bytes memory data) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(data, 64))
        }
    }
}
