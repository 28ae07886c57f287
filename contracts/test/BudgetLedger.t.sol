// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {BudgetLedger} from "../src/BudgetLedger.sol";
import {Members} from "../src/Members.sol";
import {Cheats} from "./Cheats.sol";

contract BudgetLedgerTest is Cheats {
    bytes32 private constant VENDOR = "vendor";
    bytes32 private constant COHORT = "cohort";
    uint64 private constant DAY = 1 days;

    BudgetLedger private ledger;
    uint64 private epoch;

    function setUp() public {
        vm.warp(1_767_225_600);
        ledger = new BudgetLedger(address(this), DAY);
        epoch = ledger.currentEpoch();
    }

    function testFuzz_queriesAreSpentToTheCapAndNotBeyond(uint64 cap, uint64[] calldata amounts) public {
        ledger.grantQueries(VENDOR, cap);
        uint64 left = cap;
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
        ledger.grantQueries(VENDOR, 1);
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.WrongEpoch.selector, epoch, epoch + 1));
        ledger.spendQueries(VENDOR, epoch + 1, 1, "b");
        vm.warp(block.timestamp + DAY);
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.WrongEpoch.selector, epoch + 1, epoch));
        ledger.spendQueries(VENDOR, epoch, 1, "b");
        ledger.spendQueries(VENDOR, epoch + 1, 1, "b");
    }

    function test_aLoweredCapRefusesWithoutUnderflow() public {
        ledger.grantQueries(VENDOR, 5);
        ledger.spendQueries(VENDOR, epoch, 4, "a");
        ledger.grantQueries(VENDOR, 3);
        assertEq(ledger.remainingQueries(VENDOR, epoch), 0, "left");
        ledger.capPrivacy("h", COHORT, 5);
        ledger.reserve("b", "study", COHORT, _one("h"), 4);
        ledger.capPrivacy("h", COHORT, 3);
        assertEq(ledger.remainingPrivacy("h", COHORT), 0, "left");
    }

    function test_aRequestIsAcceptedOnce() public {
        ledger.grantQueries(VENDOR, 5);
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.RequestReplayed.selector, bytes32("a")));
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        ledger.capPrivacy("h", COHORT, 5);
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.RequestReplayed.selector, bytes32("a")));
        ledger.reserve("a", "study", COHORT, _one("h"), 1);
    }

    function test_onlyMembersSpendAndOnlyTheOwnerGrants() public {
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        ledger.spendQueries(VENDOR, epoch, 1, "a");
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        ledger.reserve("a", "study", COHORT, _one("h"), 1);
        ledger.admit(address(7));
        bytes memory refusal = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(7));
        vm.expectRevert(refusal);
        vm.prank(address(7));
        ledger.grantQueries(VENDOR, 1);
        vm.expectRevert(refusal);
        vm.prank(address(7));
        ledger.capPrivacy("h", COHORT, 1);
        vm.expectRevert(refusal);
        vm.prank(address(7));
        ledger.admit(address(8));
        ledger.expel(address(7));
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        ledger.spendQueries(VENDOR, epoch, 1, "a");
    }

    /// One hospital that can't pay stops the whole study; nobody is charged.
    function test_reservationsAreAllOrNothing() public {
        ledger.capPrivacy("a", COHORT, 10);
        ledger.capPrivacy("b", COHORT, 4);
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.PrivacyBudgetExceeded.selector, bytes32("b"), COHORT, 4, 5));
        ledger.reserve("r", "study", COHORT, _two("a", "b"), 5);
        assertEq(ledger.remainingPrivacy("a", COHORT), 10, "untouched");
        assertEq(ledger.reserve("r", "study", COHORT, _two("a", "b"), 4), 1, "number");
        assertEq(ledger.reservationOf("r"), 1, "by request");
        assertEq(ledger.remainingPrivacy("a", COHORT), 6, "a");
        assertEq(ledger.remainingPrivacy("b", COHORT), 0, "b");
    }

    function test_committedAndBurnedAreBothSpentAndSettledOnce() public {
        ledger.capPrivacy("h", COHORT, 10);
        uint256 first = ledger.reserve("1", "study", COHORT, _one("h"), 3);
        uint256 second = ledger.reserve("2", "study", COHORT, _one("h"), 4);
        ledger.commit(first);
        ledger.burn(second);
        (, uint64 reserved, uint64 spent) = ledger.privacy("h", COHORT);
        assertEq(reserved, 0, "reserved");
        assertEq(spent, 7, "spent");
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.NotReserved.selector, first));
        ledger.commit(first);
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.NotReserved.selector, second));
        ledger.commit(second);
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.NotReserved.selector, 99));
        ledger.burn(99);
    }

    function test_onlyWhoReservedSettles() public {
        ledger.capPrivacy("h", COHORT, 10);
        uint256 reservation = ledger.reserve("1", "study", COHORT, _one("h"), 3);
        ledger.admit(address(7));
        vm.expectRevert(abi.encodeWithSelector(BudgetLedger.NotHolder.selector, reservation, address(7)));
        vm.prank(address(7));
        ledger.commit(reservation);
    }

    function test_hospitalsAreNamedOnceAndInOrder() public {
        ledger.capPrivacy("a", COHORT, 10);
        ledger.capPrivacy("b", COHORT, 10);
        vm.expectRevert(BudgetLedger.MalformedHospitals.selector);
        ledger.reserve("r", "study", COHORT, new bytes32[](0), 1);
        vm.expectRevert(BudgetLedger.MalformedHospitals.selector);
        ledger.reserve("r", "study", COHORT, new bytes32[](257), 1);
        vm.expectRevert(BudgetLedger.MalformedHospitals.selector);
        ledger.reserve("r", "study", COHORT, _two("a", "a"), 1);
        vm.expectRevert(BudgetLedger.MalformedHospitals.selector);
        ledger.reserve("r", "study", COHORT, _two("b", "a"), 1);
        vm.expectRevert(BudgetLedger.ZeroAmount.selector);
        ledger.reserve("r", "study", COHORT, _two("a", "b"), 0);
    }

    function test_ownershipIsNeverRenounced() public {
        vm.expectRevert(Members.OwnershipCannotBeRenounced.selector);
        ledger.renounceOwnership();
    }

    function _one(bytes32 a) private pure returns (bytes32[] memory list) {
        list = new bytes32[](1);
        list[0] = a;
    }

    function _two(bytes32 a, bytes32 b) private pure returns (bytes32[] memory list) {
        list = new bytes32[](2);
        (list[0], list[1]) = (a, b);
    }
}

/// Reserves, commits and burns at random.
contract BudgetHandler is Cheats {
    BudgetLedger public ledger = new BudgetLedger(address(this), 1 days);
    bytes32 public constant HOSPITAL = "h";
    bytes32 public constant COHORT = "c";
    uint64 public constant CAP = 1000;
    uint256 public charged;
    uint256 private _requests;

    constructor() {
        ledger.capPrivacy(HOSPITAL, COHORT, CAP);
    }

    function reserve(uint64 micros) external {
        micros = uint64(bound(micros, 1, 400));
        bytes32[] memory list = new bytes32[](1);
        list[0] = HOSPITAL;
        try ledger.reserve(bytes32(++_requests), "s", COHORT, list, micros) {
            charged += micros;
        } catch {}
    }

    function settle(uint256 which, bool released) external {
        uint256 count = ledger.reservations();
        if (count == 0) return;
        which = bound(which, 1, count);
        if (released) try ledger.commit(which) {} catch {} else try ledger.burn(which) {} catch {}
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

    /// Nothing ever reserved comes back, and no order of calls passes the cap.
    function invariant_neverBeyondTheCap() public view {
        (uint64 cap, uint64 reserved, uint64 spent) = _handler.ledger().privacy(_handler.HOSPITAL(), _handler.COHORT());
        require(uint256(reserved) + spent == _handler.charged(), "charged");
        require(uint256(reserved) + spent <= cap, "cap");
    }
}
