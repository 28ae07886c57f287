// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Changes} from "../src/Changes.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {Witnesses} from "./Witnesses.sol";

contract ChangesTest is Witnesses {
    uint64 private constant NOW = 1_767_225_600;
    bytes private lowering = abi.encodeCall(WitnessSet.setQuorum, (1));

    event ChangeProposed(uint256 indexed number, address indexed target, bytes call, uint64 due);
    event ChangeAgreed(uint256 indexed agreement, address indexed target, bytes call, uint256 bitmap);

    function setUp() public {
        vm.warp(NOW);
        deployWitnesses(3, 2);
    }

    /// What the owner proposes can be enacted from the day it is due to the end of the window, and at no other time.
    function testFuzz_aProposalWaitsAndExpires(uint256 later) public {
        later = bound(later, 0, 30 days);
        uint64 due = NOW + DELAY;
        vm.expectEmit(true, true, false, true);
        emit ChangeProposed(1, address(witnesses), lowering, due);
        assertEq(witnesses.propose(address(witnesses), lowering), 1, "number");
        vm.warp(NOW + later);
        bool tooEarly = NOW + later < due;
        bool tooLate = NOW + later > due + 14 days;
        if (tooEarly) vm.expectRevert(abi.encodeWithSelector(Changes.TooEarly.selector, 1, due));
        if (tooLate) vm.expectRevert(abi.encodeWithSelector(Changes.TooLate.selector, 1, due + 14 days));
        vm.prank(address(7));
        witnesses.enact(1);
        assertEq(witnesses.quorum(), tooEarly || tooLate ? 2 : 1, "quorum");
        (address target, uint64 when, Changes.ChangeState state, bytes memory call) = witnesses.change(1);
        require(target == address(witnesses) && when == due, "kept");
        assertEq(call, lowering, "call");
        require((state == Changes.ChangeState.Enacted) == (witnesses.quorum() == 1), "state");
    }

    function test_aChangeIsEnactedOnce() public {
        witnesses.propose(address(witnesses), lowering);
        vm.warp(NOW + DELAY);
        witnesses.enact(1);
        vm.expectRevert(abi.encodeWithSelector(Changes.NotProposed.selector, 1));
        witnesses.enact(1);
        vm.expectRevert(abi.encodeWithSelector(Changes.NotProposed.selector, 2));
        witnesses.enact(2);
    }

    function test_aChangeThatIsRefusedStaysProposed() public {
        witnesses.propose(address(witnesses), abi.encodeCall(WitnessSet.setQuorum, (4)));
        vm.warp(NOW + DELAY);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.ImpossibleQuorum.selector, 4, 3));
        witnesses.enact(1);
        (,, Changes.ChangeState state,) = witnesses.change(1);
        require(state == Changes.ChangeState.Proposed, "state");
    }

    function test_onlyTheOwnerProposesAndWhatItCallsIsAContract() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(7)));
        vm.prank(address(7));
        witnesses.propose(address(witnesses), lowering);
        vm.expectRevert(abi.encodeWithSelector(Changes.NotCallable.selector, address(7)));
        witnesses.propose(address(7), lowering);
    }

    function test_theOwnerOrAQuorumTakesAProposalBack() public {
        witnesses.propose(address(witnesses), lowering);
        witnesses.propose(address(witnesses), lowering);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(7)));
        vm.prank(address(7));
        witnesses.cancel(1);
        witnesses.cancel(1);
        agree(abi.encodeCall(Changes.cancel, (2)));
        vm.warp(NOW + DELAY);
        for (uint256 number = 1; number <= 2; ++number) {
            vm.expectRevert(abi.encodeWithSelector(Changes.NotProposed.selector, number));
            witnesses.enact(number);
            vm.expectRevert(abi.encodeWithSelector(Changes.NotProposed.selector, number));
            witnesses.cancel(number);
        }
    }

    /// A quorum of active witnesses makes a change at once; fewer, strangers, or nobody do not.
    function testFuzz_exactlyAQuorumAgrees(uint256 bitmap) public {
        bitmap = bound(bitmap, 0, 15);
        bytes memory message = witnesses.agreementMessage(address(witnesses), lowering);
        (bytes[] memory keys, bytes memory aggregate) = cosign(bitmap, message);
        if (bitmap >= 8) {
            vm.expectRevert(abi.encodeWithSelector(WitnessSet.UnknownWitness.selector, 3));
        } else if (keys.length < 2) {
            vm.expectRevert(abi.encodeWithSelector(WitnessSet.QuorumNotReached.selector, keys.length, 2));
        } else {
            vm.expectEmit(true, true, false, true);
            emit ChangeAgreed(0, address(witnesses), lowering, bitmap);
        }
        vm.prank(address(7));
        witnesses.agree(address(witnesses), lowering, bitmap, keys, aggregate);
        assertEq(witnesses.quorum(), bitmap < 8 && keys.length >= 2 ? 1 : 2, "quorum");
    }

    /// An agreement is for one call, one time, one set, one contract and one chain.
    function test_anAgreementIsWorthNothingElsewhere() public {
        bytes memory other = abi.encodeCall(WitnessSet.setQuorum, (3));
        bytes memory message = witnesses.agreementMessage(address(witnesses), other);
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, message);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.agree(address(witnesses), lowering, 3, keys, aggregate);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.agree(address(this), other, 3, keys, aggregate);
        vm.chainId(99);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.agree(address(witnesses), other, 3, keys, aggregate);
        vm.chainId(31337);
        WitnessSet first = witnesses;
        deployWitnesses(3, 2);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        witnesses.agree(address(first), other, 3, keys, aggregate);
        first.agree(address(first), other, 3, keys, aggregate);
        vm.expectRevert();
        first.agree(address(first), other, 3, keys, aggregate);
    }

    function test_nothingIsAgreedBeforeAConsortiumIsFounded() public {
        deployWitnesses(2, 0);
        bytes memory message = witnesses.agreementMessage(address(witnesses), lowering);
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, message);
        vm.expectRevert(WitnessSet.QuorumUnset.selector);
        witnesses.agree(address(witnesses), lowering, 3, keys, aggregate);
    }

    function testFuzz_aDelayIsADayToAYear(uint64 delay) public {
        if (delay < 1 days || delay > 365 days) {
            vm.expectRevert(abi.encodeWithSelector(Changes.ImpossibleDelay.selector, delay));
        }
        new WitnessSet(address(this), delay);
    }
}
