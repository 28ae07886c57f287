// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BudgetLedger} from "../src/BudgetLedger.sol";
import {Changes} from "../src/Changes.sol";
import {Members} from "../src/Members.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {Witnesses} from "./Witnesses.sol";

/// A budget of two hospitals: the witnesses at places 0 and 1, whose secrets the tests hold.
abstract contract Budgets is Witnesses {
    bytes32 internal constant COHORT = "cohort";
    bytes32 internal constant STUDY = "study";

    BudgetLedger internal ledger;

    function deployBudgets() internal {
        deployWitnesses(2, 2);
        ledger = new BudgetLedger(witnesses, address(this), 1 days);
    }

    function capCall(uint256 hospital, uint64 cap) internal view returns (bytes memory) {
        (bytes[] memory keys, bytes memory signature) =
            cosign(1 << hospital, ledger.capMessage(nameOf(hospital), COHORT, cap));
        return abi.encodeCall(BudgetLedger.capPrivacy, (nameOf(hospital), COHORT, cap, keys[0], signature));
    }

    function cap(uint256 hospital, uint64 micros) internal {
        agreeTo(address(ledger), capCall(hospital, micros));
    }

    function reserveCall(bytes32 request, bytes32[] memory hospitals, uint64 micros, uint256 signers)
        internal
        view
        returns (bytes memory)
    {
        bytes memory message = ledger.reserveMessage(request, STUDY, COHORT, hospitals, micros, address(this));
        (bytes[] memory keys, bytes memory aggregate) = cosign(signers, message);
        return abi.encodeCall(BudgetLedger.reserve, (request, STUDY, COHORT, hospitals, micros, keys, aggregate));
    }

    function settleCall(uint256 reservation, BudgetLedger.State state, uint256 signers)
        internal
        view
        returns (bytes memory)
    {
        (bytes[] memory keys, bytes memory aggregate) = cosign(signers, ledger.settleMessage(reservation, state));
        return state == BudgetLedger.State.Committed
            ? abi.encodeCall(BudgetLedger.commit, (reservation, keys, aggregate))
            : abi.encodeCall(BudgetLedger.burn, (reservation, keys, aggregate));
    }

    function send(bytes memory call) internal {
        (bool made, bytes memory answer) = address(ledger).call(call);
        if (!made) revert(string(answer));
    }

    function sendRefused(bytes memory call, bytes memory reason) internal {
        (bool made, bytes memory answer) = address(ledger).call(call);
        require(!made, "accepted");
        assertEq(answer, reason, "reason");
    }

    function one(uint256 hospital) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](1);
        list[0] = nameOf(hospital);
    }

    function both() internal pure returns (bytes32[] memory list) {
        list = new bytes32[](2);
        (list[0], list[1]) = (nameOf(0), nameOf(1));
    }
}

contract BudgetLedgerTest is Budgets {
    bytes32 private constant VENDOR = "vendor";
    uint64 private constant DAY = 1 days;

    uint64 private epoch;

    function setUp() public {
        vm.warp(1_767_225_600);
        deployBudgets();
        epoch = ledger.currentEpoch();
    }

    function testFuzz_queriesAreSpentToTheCapAndNotBeyond(uint64 granted, uint64[] calldata amounts) public {
        _grant(granted);
        uint64 left = granted;
        for (uint256 i = 0; i < amounts.length; ++i) {
            if (amounts[i] == 0) {
                vm.expectRevert(BudgetLedger.ZeroAmount.selector);
            } else if (amounts[i] > left) {
                vm.expectRevert(
                    abi.encodeWithSelector(BudgetLedger.QueryBudgetExceeded.selector, VENDOR, left, amounts[i])
                );
            } else {
                left -= amounts[i];
            }
            ledger.spendQueries(VENDOR, epoch, amounts[i], bytes32(i));
            assertEq(ledger.remainingQueries(VENDOR, epoch), left, "left");
        }
    }

    function test_aNewEpochBringsNewQueries() public {
        _grant(1);
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.WrongEpoch.selector, epoch, epoch + 1));
        ledger.spendQueries(VENDOR, epoch + 1, 1, "b");
        vm.warp(block.timestamp + DAY);
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.WrongEpoch.selector, epoch + 1, epoch));
        ledger.spendQueries(VENDOR, epoch, 1, "b");
        ledger.spendQueries(VENDOR, epoch + 1, 1, "b");
    }

    function test_aLoweredCapRefusesWithoutUnderflow() public {
        _grant(5);
        ledger.spendQueries(VENDOR, epoch, 4, "a");
        _grant(3);
        assertEq(ledger.remainingQueries(VENDOR, epoch), 0, "left");
        cap(0, 5);
        send(reserveCall("b", one(0), 4, 1));
        send(capCall(0, 3));
        assertEq(ledger.remainingPrivacy(nameOf(0), COHORT), 0, "left");
    }

    function test_aRequestIsAcceptedOnce() public {
        _grant(5);
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        bytes memory replayed = abi.encodeWithSelector(BudgetLedger.RequestReplayed.selector, bytes32("a"));
        vm.expectRevert(replayed);
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        cap(0, 5);
        send(reserveCall("a", one(0), 1, 1)); // who spends a query uses up no reservation's name
        sendRefused(reserveCall("a", one(0), 1, 1), replayed);
    }

    function test_onlyMembersSpendAndNobodyGrantsAlone() public {
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        bytes memory reserving = reserveCall("a", one(0), 1, 1);
        vm.prank(address(7));
        sendRefused(reserving, abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        agreeTo(address(ledger), abi.encodeCall(Members.admit, (address(7))));
        address[2] memory alone = [address(this), address(7)];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory refusal = abi.encodeWithSelector(Changes.NotAgreed.selector, alone[i]);
            vm.startPrank(alone[i]);
            vm.expectRevert(refusal);
            ledger.grantQueries(VENDOR, 1);
            vm.expectRevert(refusal);
            ledger.admit(address(8));
            vm.stopPrank();
        }
        agreeTo(address(ledger), abi.encodeCall(Members.expel, (address(7))));
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        ledger.spendQueries(VENDOR, epoch, 1, "a");
    }

    function test_aCapIsRaisedByTheHospitalAndTheConsortiumTogether() public {
        bytes memory raising = capCall(0, 10);
        sendRefused(raising, abi.encodeWithSelector(Changes.NotAgreed.selector, address(this)));
        (bytes[] memory keys, bytes memory other) = cosign(2, ledger.capMessage(nameOf(0), COHORT, 10));
        bytes memory ofAnother = abi.encodeCall(BudgetLedger.capPrivacy, (nameOf(0), COHORT, 10, keys[0], other));
        refuse(address(ledger), ofAnother, abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 0));
        agreeTo(address(ledger), raising);
        assertEq(ledger.remainingPrivacy(nameOf(0), COHORT), 10, "raised");
    }

    function test_aHospitalLowersItsCapAloneAndNobodyElseDoes() public {
        cap(0, 10);
        bytes memory lowering = capCall(0, 4);
        vm.prank(address(7));
        send(lowering);
        assertEq(ledger.remainingPrivacy(nameOf(0), COHORT), 4, "lowered");
        bytes memory unsigned =
            abi.encodeCall(BudgetLedger.capPrivacy, (nameOf(0), COHORT, 3, new bytes(128), new bytes(256)));
        sendRefused(unsigned, abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 0));
        // A signature is for one cap: an earlier one cannot be brought back.
        sendRefused(lowering, abi.encodeWithSelector(WitnessSet.InvalidSignature.selector));
    }

    /// One hospital that can't pay stops the whole study; nobody is charged.
    function test_reservationsAreAllOrNothing() public {
        cap(0, 10);
        cap(1, 4);
        bytes memory tooMuch =
            abi.encodeWithSelector(BudgetLedger.PrivacyBudgetExceeded.selector, nameOf(1), COHORT, 4, 5);
        sendRefused(reserveCall("r", both(), 5, 3), tooMuch);
        assertEq(ledger.remainingPrivacy(nameOf(0), COHORT), 10, "untouched");
        send(reserveCall("r", both(), 4, 3));
        assertEq(ledger.reservationOf("r"), 1, "by request");
        assertEq(ledger.remainingPrivacy(nameOf(0), COHORT), 6, "a");
        assertEq(ledger.remainingPrivacy(nameOf(1), COHORT), 0, "b");
    }

    /// A member that is no party to it neither reserves nor settles another hospital's privacy.
    function testFuzz_onlyAHospitalReservesItsPrivacy(uint64 micros) public {
        micros = uint64(bound(micros, 1, 10));
        cap(0, 10);
        cap(1, 10);
        bytes memory mismatch = abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 0);
        sendRefused(reserveCall("r", one(0), micros, 2), mismatch);
        sendRefused(
            reserveCall("r", both(), micros, 2), abi.encodeWithSelector(WitnessSet.KeyCountMismatch.selector, 2, 1)
        );
        assertEq(ledger.remainingPrivacy(nameOf(0), COHORT), 10, "nothing reserved");
        send(reserveCall("r", one(0), micros, 1));
        sendRefused(settleCall(1, BudgetLedger.State.Burned, 2), mismatch);
        (, uint64 reserved, uint64 spent) = ledger.privacy(nameOf(0), COHORT);
        require(reserved == micros && spent == 0, "nothing burned");
        // What was signed to be committed is not signed to be burned.
        (bytes[] memory keys, bytes memory committing) =
            cosign(1, ledger.settleMessage(1, BudgetLedger.State.Committed));
        sendRefused(
            abi.encodeCall(BudgetLedger.burn, (1, keys, committing)),
            abi.encodeWithSelector(WitnessSet.InvalidSignature.selector)
        );
        send(settleCall(1, BudgetLedger.State.Burned, 1));
    }

    /// What a hospital signed for one account, study or amount is worth nothing to another.
    function test_aReservationIsSignedAsItIsSent() public {
        cap(0, 10);
        bytes memory reserving = reserveCall("r", one(0), 2, 1);
        agreeTo(address(ledger), abi.encodeCall(Members.admit, (address(7))));
        vm.prank(address(7));
        sendRefused(reserving, abi.encodeWithSelector(WitnessSet.InvalidSignature.selector));
        (bytes[] memory keys, bytes memory aggregate) =
            cosign(1, ledger.reserveMessage("r", STUDY, COHORT, one(0), 2, address(this)));
        sendRefused(
            abi.encodeCall(BudgetLedger.reserve, ("r", "other", COHORT, one(0), 2, keys, aggregate)),
            abi.encodeWithSelector(WitnessSet.InvalidSignature.selector)
        );
        sendRefused(
            abi.encodeCall(BudgetLedger.reserve, ("r", STUDY, COHORT, one(0), 3, keys, aggregate)),
            abi.encodeWithSelector(WitnessSet.InvalidSignature.selector)
        );
        send(reserving);
    }

    function test_committedAndBurnedAreBothSpentAndSettledOnce() public {
        cap(0, 10);
        send(reserveCall("1", one(0), 3, 1));
        send(reserveCall("2", one(0), 4, 1));
        send(settleCall(1, BudgetLedger.State.Committed, 1));
        send(settleCall(2, BudgetLedger.State.Burned, 1));
        (, uint64 reserved, uint64 spent) = ledger.privacy(nameOf(0), COHORT);
        assertEq(reserved, 0, "reserved");
        assertEq(spent, 7, "spent");
        for (uint256 number = 1; number <= 3; ++number) {
            bytes memory settled = abi.encodeWithSelector(BudgetLedger.NotReserved.selector, number);
            sendRefused(settleCall(number, BudgetLedger.State.Committed, 1), settled);
            sendRefused(settleCall(number, BudgetLedger.State.Burned, 1), settled);
        }
    }

    function test_onlyWhoReservedSettles() public {
        cap(0, 10);
        send(reserveCall("1", one(0), 3, 1));
        bytes memory settling = settleCall(1, BudgetLedger.State.Committed, 1);
        vm.prank(address(7));
        sendRefused(settling, abi.encodeWithSelector(BudgetLedger.NotHolder.selector, 1, address(7)));
    }

    function test_hospitalsAreNamedOnceAndInOrder() public {
        cap(0, 10);
        bytes memory malformed = abi.encodeWithSelector(BudgetLedger.MalformedHospitals.selector);
        bytes32[] memory wrong = both();
        sendRefused(reserveCall("r", new bytes32[](0), 1, 3), malformed);
        sendRefused(reserveCall("r", new bytes32[](257), 1, 3), malformed);
        (wrong[0], wrong[1]) = (wrong[0], wrong[0]);
        sendRefused(reserveCall("r", wrong, 1, 3), malformed);
        (wrong[0], wrong[1]) = (nameOf(1), nameOf(0));
        cap(1, 10);
        sendRefused(reserveCall("r", wrong, 1, 3), malformed);
        sendRefused(reserveCall("r", both(), 0, 3), abi.encodeWithSelector(BudgetLedger.ZeroAmount.selector));
    }

    function test_whatStoodEarlierIsCarriedOnceAndWhileFounding() public {
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.NotFounding.selector, address(this)));
        ledger.carryPrivacy(nameOf(0), COHORT, 10, 4);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.NotFounding.selector, address(this)));
        ledger.carryQueries(VENDOR, epoch, 3);
        deployWitnesses(2, 0);
        ledger = new BudgetLedger(witnesses, address(this), DAY);
        ledger.carryPrivacy(nameOf(0), COHORT, 10, 4);
        ledger.grantQueries(VENDOR, 5);
        ledger.carryQueries(VENDOR, epoch, 3);
        assertEq(ledger.remainingPrivacy(nameOf(0), COHORT), 6, "privacy");
        assertEq(ledger.remainingQueries(VENDOR, epoch), 2, "queries");
        vm.expectRevert(BudgetLedger.CarriedAlready.selector);
        ledger.carryPrivacy(nameOf(0), COHORT, 10, 0);
        vm.expectRevert(BudgetLedger.CarriedAlready.selector);
        ledger.carryQueries(VENDOR, epoch, 1);
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.NotFounding.selector, address(7)));
        vm.prank(address(7));
        ledger.carryQueries("other", epoch, 1);
    }

    function test_anEpochLasts() public {
        vm.expectRevert(BudgetLedger.ZeroEpoch.selector);
        new BudgetLedger(witnesses, address(this), 0);
    }

    function _grant(uint64 queries) private {
        agreeTo(address(ledger), abi.encodeCall(BudgetLedger.grantQueries, (VENDOR, queries)));
    }
}

/// Reserves, commits and burns at random, with the hospital's signature and without.
contract BudgetHandler is Budgets {
    uint64 public constant CAP = 1000;
    uint256 public charged;
    bool public fooled;
    uint256 private _requests;

    constructor() {
        deployBudgets();
        cap(0, CAP);
    }

    function account() external view returns (uint64 capMicros, uint64 reserved, uint64 spent) {
        return ledger.privacy(nameOf(0), COHORT);
    }

    function reserve(uint64 micros, bool signed) external {
        micros = uint64(bound(micros, 1, 400));
        (bool made,) = address(ledger).call(reserveCall(bytes32(++_requests), one(0), micros, signed ? 1 : 2));
        if (made) charged += micros;
        if (made && !signed) fooled = true;
    }

    function settle(uint256 which, bool released, bool signed) external {
        uint256 count = ledger.reservations();
        if (count == 0) return;
        BudgetLedger.State state = released ? BudgetLedger.State.Committed : BudgetLedger.State.Burned;
        (bool made,) = address(ledger).call(settleCall(bound(which, 1, count), state, signed ? 1 : 2));
        if (made && !signed) fooled = true;
    }

    function raise(uint64 micros, bool signed) external {
        micros = uint64(bound(micros, CAP + 1, 2 * CAP));
        (bool made,) = address(ledger).call(signed ? capCall(0, micros) : capCall(1, micros));
        if (made) fooled = true;
    }
}

contract BudgetLedgerInvariantTest {
    BudgetHandler private _handler;

    function setUp() public {
        _handler = new BudgetHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// Nothing ever reserved comes back, no order of calls passes the cap, and nothing is done without the hospital.
    function invariant_neverBeyondTheCapNorWithoutTheHospital() public view {
        (uint64 cap, uint64 reserved, uint64 spent) = _handler.account();
        require(uint256(reserved) + spent == _handler.charged(), "charged");
        require(uint256(reserved) + spent <= cap && cap == _handler.CAP(), "cap");
        require(!_handler.fooled(), "without the hospital");
    }
}
