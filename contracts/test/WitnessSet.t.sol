// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Bls12381} from "../src/Bls12381.sol";
import {Changes} from "../src/Changes.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {BlsVectors} from "./BlsVectors.sol";
import {Witnesses} from "./Witnesses.sol";

contract WitnessSetTest is Witnesses {
    bytes private constant MESSAGE = "message";

    event WitnessRegistered(uint256 indexed index, bytes32 indexed name, bytes key, uint64 epoch);

    function setUp() public {
        deployWitnesses(4, 2);
    }

    function test_everyChangeOpensAnEpoch() public {
        assertEq(witnesses.epoch(), 5, "four registrations and a quorum");
        agree(abi.encodeCall(WitnessSet.setQuorum, (3)));
        assertEq(witnesses.epoch(), 6, "quorum");
        agree(abi.encodeCall(WitnessSet.retire, (0)));
        assertEq(witnesses.epoch(), 7, "retired");
    }

    function test_registrationTellsTheKey() public {
        deployWitnesses(4, 0);
        bytes memory key = BlsSigner.publicKey(secretOf(4));
        vm.expectEmit(true, true, false, true);
        emit WitnessRegistered(4, bytes32(uint256(5)), key, 5);
        assertEq(register(4), 4, "index");
        (bytes32 name, bytes32 keyHash, bool isActive) = witnesses.witness(4);
        assertEq(name, bytes32(uint256(5)), "name");
        assertEq(keyHash, keccak256(key), "hash");
        require(isActive, "active");
    }

    function test_aKeyRegisteredTwiceIsRefusedEvenAfterItRetired() public {
        deployWitnesses(4, 0);
        (bytes memory key, bytes memory proof) =
            (BlsSigner.publicKey(secretOf(1)), BlsSigner.provePossession(secretOf(1)));
        _expectDuplicate(1);
        witnesses.register("again", key, proof);
        witnesses.retire(1);
        _expectDuplicate(1);
        witnesses.register("again", key, proof);
    }

    function testFuzz_aProofOfAnotherKeyIsRefused(uint256 a, uint256 b) public {
        deployWitnesses(0, 0);
        (a, b) = (bound(a, 5000, 6000), bound(b, 7000, 8000));
        bytes memory key = BlsSigner.publicKey(a);
        bytes memory proof = BlsSigner.provePossession(b);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.InvalidPossession.selector, bytes32("x")));
        witnesses.register("x", key, proof);
    }

    /// A signature of the key over itself in the message domain proves nothing.
    function test_aMessageSignatureIsNoProof() public {
        deployWitnesses(0, 0);
        bytes memory key = BlsSigner.publicKey(5000);
        bytes memory signature = BlsSigner.sign(5000, Bls12381.compressG1(key));
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.InvalidPossession.selector, bytes32("x")));
        witnesses.register("x", key, signature);
    }

    function test_badPointsAreRefused() public {
        deployWitnesses(0, 0);
        bytes memory proof = BlsSigner.provePossession(5000);
        vm.expectRevert(Bls12381.PointAtInfinity.selector);
        witnesses.register("x", new bytes(128), proof);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.MalformedPoint.selector, 128, 127));
        witnesses.register("x", new bytes(127), proof);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.PrecompileFailed.selector, address(0x0f), 0));
        witnesses.register("x", BlsVectors.STRAY_KEY, proof);
    }

    function test_onlyTheFounderFoundsAndNobodyChangesTheSetAloneAfterwards() public {
        address[2] memory alone = [address(this), address(7)];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory refusal = abi.encodeWithSelector(Changes.NotAgreed.selector, alone[i]);
            vm.startPrank(alone[i]);
            vm.expectRevert(refusal);
            witnesses.register("x", new bytes(128), new bytes(256));
            vm.expectRevert(refusal);
            witnesses.retire(0);
            vm.expectRevert(refusal);
            witnesses.setQuorum(1);
            vm.stopPrank();
        }
        deployWitnesses(2, 0);
        vm.expectRevert(abi.encodeWithSelector(Changes.NotAgreed.selector, address(7)));
        vm.prank(address(7));
        witnesses.setQuorum(1);
    }

    function test_aNameIsOneActiveWitness() public {
        deployWitnesses(1, 0);
        (bytes memory key, bytes memory proof) = (BlsSigner.publicKey(5000), BlsSigner.provePossession(5000));
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.DuplicateName.selector, nameOf(0)));
        witnesses.register(nameOf(0), key, proof);
        witnesses.retire(0);
        assertEq(witnesses.register(nameOf(0), key, proof), 1, "a new key under the old name");
    }

    /// Exactly the named hospitals, all of them, by their own keys.
    function testFuzz_hospitalsSignForThemselves(uint256 signers, bytes calldata message) public {
        signers = bound(signers, 1, 15);
        (bytes[] memory keys, bytes memory aggregate) = cosign(signers, message);
        bytes32[] memory names = new bytes32[](1);
        names[0] = nameOf(2);
        if (keys.length != 1) {
            vm.expectRevert(abi.encodeWithSelector(WitnessSet.KeyCountMismatch.selector, 1, keys.length));
        } else if (signers != 4) {
            vm.expectRevert(abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 2));
        }
        witnesses.requireSignedBy(names, message, keys, aggregate);
    }

    function test_nobodySignsForAnotherOrForARetiredHospital() public {
        bytes32[] memory names = new bytes32[](1);
        names[0] = nameOf(1);
        (bytes[] memory keys, bytes memory aggregate) = cosign(2, MESSAGE);
        witnesses.requireSignedBy(names, MESSAGE, keys, aggregate);
        (, bytes memory other) = cosign(1, MESSAGE);
        vm.expectRevert(WitnessSet.InvalidSignature.selector);
        witnesses.requireSignedBy(names, MESSAGE, keys, other);
        names[0] = "stranger";
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.UnknownName.selector, bytes32("stranger")));
        witnesses.requireSignedBy(names, MESSAGE, keys, aggregate);
        agree(abi.encodeCall(WitnessSet.retire, (1)));
        names[0] = nameOf(1);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.UnknownName.selector, nameOf(1)));
        witnesses.requireSignedBy(names, MESSAGE, keys, aggregate);
    }

    function test_ownershipMovesInTwoStepsAndIsNeverRenounced() public {
        witnesses.transferOwnership(address(7));
        require(witnesses.owner() == address(this), "not yet");
        vm.prank(address(7));
        witnesses.acceptOwnership();
        require(witnesses.owner() == address(7), "now");
        vm.expectRevert(Changes.OwnershipCannotBeRenounced.selector);
        vm.prank(address(7));
        witnesses.renounceOwnership();
    }

    function test_aQuorumMustBePossible() public {
        deployWitnesses(4, 0);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.ImpossibleQuorum.selector, 0, 4));
        witnesses.setQuorum(0);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.ImpossibleQuorum.selector, 5, 4));
        witnesses.setQuorum(5);
        witnesses.setQuorum(4);
        bytes memory reason = abi.encodeWithSelector(WitnessSet.ImpossibleQuorum.selector, 4, 3);
        refuse(address(witnesses), abi.encodeCall(WitnessSet.retire, (0)), reason);
    }

    /// A quorum of the active passes; anything less, or anyone else, does not.
    function testFuzz_exactlyAQuorumOfActiveWitnessesPasses(uint256 bitmap, bytes calldata message) public {
        bitmap = bound(bitmap, 0, 31);
        (bytes[] memory keys, bytes memory aggregate) = cosign(bitmap, message);
        if (bitmap >= 16) {
            vm.expectRevert(abi.encodeWithSelector(WitnessSet.UnknownWitness.selector, 4));
        } else if (keys.length < 2) {
            vm.expectRevert(abi.encodeWithSelector(WitnessSet.QuorumNotReached.selector, keys.length, 2));
        }
        witnesses.requireQuorum(message, bitmap, keys, aggregate);
    }

    function test_nothingPassesBeforeAQuorumIsSet() public {
        deployWitnesses(2, 0);
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, MESSAGE);
        vm.expectRevert(WitnessSet.QuorumUnset.selector);
        witnesses.requireQuorum(MESSAGE, 3, keys, aggregate);
    }

    function test_aRetiredWitnessNoLongerCounts() public {
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, MESSAGE);
        witnesses.requireQuorum(MESSAGE, 3, keys, aggregate);
        bytes memory retiring = abi.encodeCall(WitnessSet.retire, (1));
        agree(retiring);
        bytes memory reason = abi.encodeWithSelector(WitnessSet.UnknownWitness.selector, 1);
        vm.expectRevert(reason);
        witnesses.requireQuorum(MESSAGE, 3, keys, aggregate);
        refuse(address(witnesses), retiring, reason);
    }

    function test_keysMustBeTheRegisteredOnesInOrder() public {
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, MESSAGE);
        (keys[0], keys[1]) = (keys[1], keys[0]);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 0));
        witnesses.requireQuorum(MESSAGE, 3, keys, aggregate);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.KeyCountMismatch.selector, 3, 2));
        witnesses.requireQuorum(MESSAGE, 7, keys, aggregate);
    }

    /// Claiming one signer more than signed, or dropping one that did.
    function test_theAggregateMustBeTheirs() public {
        (, bytes memory ofTwo) = cosign(3, MESSAGE);
        (bytes[] memory three, bytes memory ofThree) = cosign(7, MESSAGE);
        (bytes[] memory two,) = cosign(3, MESSAGE);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.requireQuorum(MESSAGE, 7, three, ofTwo);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.requireQuorum(MESSAGE, 3, two, ofThree);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.requireQuorum("other", 3, two, ofTwo);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.requireQuorum(MESSAGE, 3, two, new bytes(256));
    }

    function _expectDuplicate(uint256 index) private {
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.DuplicateKey.selector, index));
    }
}
