// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {OutbreakAlert} from "../src/OutbreakAlert.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {Witnesses} from "./Witnesses.sol";

contract OutbreakAlertTest is Witnesses {
    uint64 private constant NOW = 1_767_225_600;
    uint32 private constant TODAY = uint32(NOW / 1 days);

    OutbreakAlert private outbreak;

    function setUp() public {
        vm.warp(NOW);
        deployWitnesses(3, 2);
        outbreak = new OutbreakAlert(witnesses);
    }

    function statement(uint32 day) private pure returns (OutbreakAlert.Statement memory) {
        return OutbreakAlert.Statement("influenza-like-illness", "terms", day, 140, 101_500, 131_250);
    }

    function raised(OutbreakAlert.Statement memory said, uint256 signers) private returns (uint256) {
        (bytes[] memory keys, bytes memory aggregate) = cosign(signers, outbreak.raiseMessage(said));
        vm.prank(address(0xbeef));
        return outbreak.raise(said, signers, keys, aggregate);
    }

    function refused(OutbreakAlert.Statement memory said, uint256 signers, bytes memory reason) private {
        (bytes[] memory keys, bytes memory aggregate) = cosign(signers, outbreak.raiseMessage(said));
        vm.expectRevert(reason);
        outbreak.raise(said, signers, keys, aggregate);
    }

    function test_aQuorumRaisesAnAlertAndEndsIt() public {
        assertEq(raised(statement(TODAY), 5), 1, "number");
        assertEq(outbreak.alertOf("influenza-like-illness", TODAY), 1, "by day");
        (bytes[] memory keys, bytes memory aggregate) = cosign(6, outbreak.endMessage(1));
        vm.warp(NOW + 20 days);
        outbreak.end(1, 6, keys, aggregate);
        OutbreakAlert.Alert memory found = outbreak.alertAt(1);
        require(found.raisedAt == NOW && found.endedAt == NOW + 20 days && found.said.counted == 140, "kept");
        vm.expectRevert(abi.encodeWithSelector(OutbreakAlert.AlreadyOver.selector, 1));
        outbreak.end(1, 6, keys, aggregate);
        vm.expectRevert(abi.encodeWithSelector(OutbreakAlert.UnknownAlert.selector, 2));
        outbreak.end(2, 6, keys, aggregate);
    }

    /// One hospital alone raises nothing and ends nothing, and a retired one counts no more.
    function test_noHospitalAlertsAlone() public {
        bytes memory few = abi.encodeWithSelector(WitnessSet.QuorumNotReached.selector, 1, 2);
        refused(statement(TODAY), 1, few);
        raised(statement(TODAY), 7);
        (bytes[] memory keys, bytes memory aggregate) = cosign(4, outbreak.endMessage(1));
        vm.expectRevert(few);
        outbreak.end(1, 4, keys, aggregate);
        (keys, aggregate) = cosign(6, outbreak.endMessage(1));
        agree(abi.encodeCall(WitnessSet.retire, (0)));
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector); // of the epoch before
        outbreak.end(1, 6, keys, aggregate);
        refused(statement(TODAY - 1), 3, abi.encodeWithSelector(WitnessSet.UnknownWitness.selector, 0));
    }

    /// A quorum's signature is for exactly what it says.
    function testFuzz_nothingElseIsAlerted(uint32 back, int64 counted, int64 expected, int64 threshold) public {
        OutbreakAlert.Statement memory said = statement(TODAY);
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, outbreak.raiseMessage(said));
        OutbreakAlert.Statement memory other = statement(TODAY - uint32(bound(back, 0, 14)));
        (other.counted, other.expectedMilli, other.thresholdMilli) = (counted, expected, threshold);
        vm.assume(int256(counted) * 1000 > threshold);
        vm.assume(keccak256(abi.encode(other)) != keccak256(abi.encode(said)));
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        outbreak.raise(other, 3, keys, aggregate);
        outbreak.raise(said, 3, keys, aggregate);
        vm.expectRevert(abi.encodeWithSelector(OutbreakAlert.AlreadyRaised.selector, said.syndrome, TODAY, uint256(1)));
        outbreak.raise(said, 3, keys, aggregate);
    }

    function test_whatIsNoAlertIsRefused() public {
        OutbreakAlert.Statement memory said = statement(TODAY + 1);
        refused(said, 3, abi.encodeWithSelector(OutbreakAlert.DayNotNear.selector, TODAY, TODAY + 1));
        said.day = TODAY - 15;
        refused(said, 3, abi.encodeWithSelector(OutbreakAlert.DayNotNear.selector, TODAY, TODAY - 15));
        said.day = TODAY - 14;
        said.counted = 131;
        refused(said, 3, abi.encodeWithSelector(OutbreakAlert.NoExcess.selector, int64(131), int64(131_250)));
        (said.counted, said.terms) = (140, 0);
        refused(said, 3, abi.encodeWithSelector(OutbreakAlert.NothingStated.selector));
        (said.terms, said.syndrome) = ("terms", 0);
        refused(said, 3, abi.encodeWithSelector(OutbreakAlert.NothingStated.selector));
        said.syndrome = "measles";
        assertEq(raised(said, 3), 1, "a fortnight old");
        vm.expectRevert(abi.encodeWithSelector(OutbreakAlert.NotAContract.selector, address(7)));
        new OutbreakAlert(WitnessSet(address(7)));
    }
}

/// Three hospitals raise and end in any order; signatures are taken as given.
contract OutbreakHandler is Witnesses {
    OutbreakAlert public outbreak;
    uint256 public accepted;

    constructor() {
        vm.warp(1_767_225_600);
        deployWitnesses(3, 2);
        outbreak = new OutbreakAlert(witnesses);
        vm.mockCall(address(witnesses), abi.encodeWithSelector(witnesses.requireQuorum.selector), "");
    }

    function raise(uint32 day, uint8 syndrome, int64 counted) external {
        uint32 today = uint32(block.timestamp / 1 days);
        OutbreakAlert.Statement memory said =
            OutbreakAlert.Statement(bytes32(uint256(syndrome % 3)), "t", today - day % 20, counted, 0, 1000);
        try outbreak.raise(said, 3, new bytes[](2), "") {
            ++accepted;
        } catch {}
    }

    function end(uint256 alert) external {
        try outbreak.end(alert % 12, 3, new bytes[](2), "") {} catch {}
    }

    function wait_(uint256 time) external {
        vm.warp(block.timestamp + time % 3 days);
    }
}

contract OutbreakAlertInvariantTest {
    OutbreakHandler private _handler;

    function setUp() public {
        _handler = new OutbreakHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// Alerts are numbered without a gap, found by syndrome and day, above their threshold, ended after they began.
    function invariant_everyAlertIsOneDaysExcess() public view {
        OutbreakAlert outbreak = _handler.outbreak();
        require(outbreak.alerts() == _handler.accepted(), "count");
        for (uint256 i = 1; i <= outbreak.alerts(); ++i) {
            OutbreakAlert.Alert memory one = outbreak.alertAt(i);
            require(outbreak.alertOf(one.said.syndrome, one.said.day) == i, "found");
            require(int256(one.said.counted) * 1000 > one.said.thresholdMilli, "excess");
            require(one.endedAt == 0 || one.endedAt >= one.raisedAt, "order");
        }
    }
}
