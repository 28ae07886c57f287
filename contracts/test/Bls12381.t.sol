// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Bls12381} from "../src/Bls12381.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {BlsVectors} from "./BlsVectors.sol";
import {Cheats} from "./Cheats.sol";

contract Bls12381Harness {
    function isSignature(bytes calldata key, bytes calldata message, bytes calldata signature, string calldata dst)
        external
        view
        returns (bool)
    {
        return Bls12381.isSignature(key, message, signature, dst);
    }

    function probe() external view {
        Bls12381.probe();
    }

    function compressG1(bytes calldata point) external pure returns (bytes memory) {
        return Bls12381.compressG1(point);
    }
}

contract Bls12381Test is Cheats {
    uint256 private constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    Bls12381Harness private harness = new Bls12381Harness();

    /// RFC 9380, J.10.1.
    function test_hashToCurveVectors() public view {
        for (uint256 i = 0; i < BlsVectors.hashCount(); ++i) {
            (bytes memory message, bytes memory point) = BlsVectors.hashed(i);
            assertEq(Bls12381.hashToG2(message, BlsVectors.HASH_DST), point, "hash to curve");
        }
    }

    /// Keys and signatures made by py_ecc: both signs of y occur among the keys.
    function test_referenceSignaturesAndProofsVerify() public view {
        for (uint256 i = 0; i < BlsVectors.signerCount(); ++i) {
            BlsVectors.Signer memory signer = BlsVectors.signer(i);
            assertEq(Bls12381.compressG1(signer.key), signer.compressed, "compressed key");
            require(
                Bls12381.isSignature(signer.key, BlsVectors.MESSAGE, signer.signature, Bls12381.SIGNATURE_DST),
                "signature"
            );
            require(
                Bls12381.isSignature(signer.key, signer.compressed, signer.possession, Bls12381.POSSESSION_DST),
                "possession"
            );
            require(
                !Bls12381.isSignature(signer.key, signer.compressed, signer.possession, Bls12381.SIGNATURE_DST),
                "domain"
            );
        }
    }

    function testFuzz_signatureVerifiesForItsKeyAndMessageOnly(uint256 secret, uint256 other, bytes calldata message)
        public
        view
    {
        secret = bound(secret, 1, ORDER - 1);
        other = bound(other, 1, ORDER - 1);
        vm.assume(secret != other);
        (bytes memory key, bytes memory signature) = (BlsSigner.publicKey(secret), BlsSigner.sign(secret, message));
        require(Bls12381.isSignature(key, message, signature, Bls12381.SIGNATURE_DST), "own");
        require(
            !Bls12381.isSignature(BlsSigner.publicKey(other), message, signature, Bls12381.SIGNATURE_DST), "other key"
        );
        require(
            !Bls12381.isSignature(key, bytes.concat(message, "!"), signature, Bls12381.SIGNATURE_DST), "other message"
        );
        require(!Bls12381.isSignature(key, message, new bytes(256), Bls12381.SIGNATURE_DST), "infinity");
    }

    function testFuzz_aKeyAndItsNegativeCancelOut(uint256 secret) public view {
        secret = bound(secret, 1, ORDER - 1);
        bytes memory key = BlsSigner.publicKey(secret);
        bytes memory negative = Bls12381.negateG1(key);
        assertEq(negative, BlsSigner.publicKey(ORDER - secret), "negative");
        require(Bls12381.isInfinityG1(Bls12381.addG1(key, negative)), "sum");
        // Their compressed forms differ in the sign flag alone.
        bytes32 difference = bytes32(Bls12381.compressG1(key)) ^ bytes32(Bls12381.compressG1(negative));
        assertEq(difference, bytes32(uint256(1) << 253), "sign flag");
    }

    function test_infinityIsNoKey() public {
        vm.expectRevert(Bls12381.PointAtInfinity.selector);
        harness.isSignature(new bytes(128), "m", new bytes(256), Bls12381.SIGNATURE_DST);
    }

    function test_pointsOfWrongLengthAreRefused() public {
        BlsVectors.Signer memory signer = BlsVectors.signer(0);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.MalformedPoint.selector, 128, 48));
        harness.isSignature(signer.compressed, "m", signer.signature, Bls12381.SIGNATURE_DST);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.MalformedPoint.selector, 256, 128));
        harness.isSignature(signer.key, "m", signer.key, Bls12381.SIGNATURE_DST);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.MalformedPoint.selector, 128, 256));
        harness.compressG1(signer.signature);
    }

    /// On the curve, outside the subgroup: the pairing refuses it.
    function test_pointsOutsideTheSubgroupAreRefused() public {
        BlsVectors.Signer memory signer = BlsVectors.signer(0);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.PrecompileFailed.selector, address(0x0f), 0));
        harness.isSignature(BlsVectors.STRAY_KEY, BlsVectors.MESSAGE, signer.signature, Bls12381.SIGNATURE_DST);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.PrecompileFailed.selector, address(0x0f), 0));
        harness.isSignature(signer.key, BlsVectors.MESSAGE, BlsVectors.STRAY_SIGNATURE, Bls12381.SIGNATURE_DST);
    }

    /// A coordinate plus the prime would be a second spelling of the same key.
    function test_aCoordinateAboveThePrimeIsRefused() public {
        BlsVectors.Signer memory signer = BlsVectors.signer(0);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.PrecompileFailed.selector, address(0x0f), 0));
        harness.isSignature(BlsVectors.UNREDUCED_KEY, BlsVectors.MESSAGE, signer.signature, Bls12381.SIGNATURE_DST);
    }

    function test_probePassesHere() public view {
        harness.probe();
    }
}
