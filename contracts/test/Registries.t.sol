// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BreakGlass} from "../src/BreakGlass.sol";
import {BudgetLedger} from "../src/BudgetLedger.sol";
import {Changes} from "../src/Changes.sol";
import {Members} from "../src/Members.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {Witnesses} from "./Witnesses.sol";

contract ModelRegistryTest is Witnesses {
    BudgetLedger private ledger;
    ModelRegistry private registry;
    bytes32[] private hospitals;

    function setUp() public {
        deployWitnesses(2, 0);
        ledger = new BudgetLedger(witnesses, address(this), 1 days);
        registry = new ModelRegistry(ledger, address(this));
        hospitals = [nameOf(0), nameOf(1)];
        for (uint256 i = 0; i < 2; ++i) {
            ledger.carryPrivacy(hospitals[i], "cohort", 1000, 0);
        }
        witnesses.setQuorum(2);
    }

    /// Models are numbered, and are of the study that was paid for, whatever is claimed of them.
    function testFuzz_modelsAreNumberedAndKept(uint64 epsilon, uint64 delta, bytes32 hash) public {
        epsilon = uint64(bound(epsilon, 1, type(uint64).max));
        delta = uint64(bound(delta, 0, 1e12 - 1));
        vm.assume(hash != 0 && hash != "first");
        (uint256 first, uint256 second) = (paid("one"), paid("two"));
        registry.register(first, "first", "card", 1, 1);
        assertEq(registry.register(second, hash, "card", epsilon, delta), 2, "number");
        ModelRegistry.Model memory model = registry.model(2);
        assertEq(model.study, "two", "study");
        assertEq(model.modelHash, hash, "hash");
        assertEq(model.epsilonMicros, epsilon, "epsilon");
        assertEq(model.deltaE12, delta, "delta");
        assertEq(registry.reservationOf(2), second, "reservation");
        uint256 third = paid("three");
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.AlreadyRegistered.selector, hash, 2));
        registry.register(third, hash, "card", epsilon, delta);
    }

    function test_onlyWhatWasPaidForIsRegisteredAndOnce() public {
        uint256 reservation = reserved("study");
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.NotPaid.selector, reservation));
        registry.register(reservation, "m", "c", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.NotPaid.selector, 99));
        registry.register(99, "m", "c", 1, 1);
        settle(reservation, BudgetLedger.State.Burned);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.NotPaid.selector, reservation));
        registry.register(reservation, "m", "c", 1, 1);
        uint256 good = paid("other");
        registry.register(good, "m", "c", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ReservationUsed.selector, good, 1));
        registry.register(good, "n", "c", 1, 1);
    }

    function test_nobodyRegistersWhatAnotherPaidFor() public {
        uint256 reservation = paid("study");
        agreeTo(address(registry), abi.encodeCall(Members.admit, (address(7))));
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.NotHolder.selector, reservation, address(7)));
        vm.prank(address(7));
        registry.register(reservation, "m", "c", 1, 1);
    }

    function test_implausibleEntriesAreRefused() public {
        uint256 reservation = paid("study");
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ImplausiblePrivacy.selector, 0, 1));
        registry.register(reservation, "m", "c", 0, 1);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ImplausiblePrivacy.selector, 1, 1e12));
        registry.register(reservation, "m", "c", 1, 1e12);
        vm.expectRevert(ModelRegistry.EmptyHash.selector);
        registry.register(reservation, 0, "c", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.UnknownModel.selector, 0));
        registry.model(0);
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        registry.register(reservation, "m", "c", 1, 1);
    }

    function test_modelsAreTakenOverOnlyWhileAConsortiumIsFounded() public {
        vm.expectRevert(abi.encodeWithSelector(WitnessSet.NotFounding.selector, address(this)));
        registry.carryModel("s", "m", "c", 1, 1);
        WitnessSet fresh = new WitnessSet(address(this), DELAY);
        ModelRegistry founded = new ModelRegistry(new BudgetLedger(fresh, address(this), 1 days), address(this));
        assertEq(founded.carryModel("s", "m", "c", 1, 1), 1, "number");
        assertEq(founded.reservationOf(1), 0, "reservation");
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ForeignLedger.selector, address(7)));
        new ModelRegistry(BudgetLedger(address(7)), address(this));
    }

    function reserved(bytes32 study) private returns (uint256) {
        bytes memory message = ledger.reserveMessage(study, study, "cohort", hospitals, 10, address(this));
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, message);
        return ledger.reserve(study, study, "cohort", hospitals, 10, keys, aggregate);
    }

    function settle(uint256 reservation, BudgetLedger.State state) private {
        (bytes[] memory keys, bytes memory aggregate) = cosign(3, ledger.settleMessage(reservation, state));
        if (state == BudgetLedger.State.Committed) ledger.commit(reservation, keys, aggregate);
        else ledger.burn(reservation, keys, aggregate);
    }

    function paid(bytes32 study) private returns (uint256 reservation) {
        reservation = reserved(study);
        settle(reservation, BudgetLedger.State.Committed);
    }
}

contract BreakGlassTest is Witnesses {
    BreakGlass private glass;

    function setUp() public {
        deployWitnesses(2, 2);
        glass = new BreakGlass(witnesses, address(this), 72 hours);
        vm.warp(1_767_225_600);
    }

    function test_anEmergencyIsOverdueUntilReviewed() public {
        glass.declare("a");
        assertEq(glass.overdue(0, 10).length, 0, "not yet");
        vm.warp(block.timestamp + 72 hours);
        assertEq(glass.overdue(0, 10).length, 0, "the deadline itself is in time");
        vm.warp(block.timestamp + 1);
        assertEq(glass.overdue(0, 10)[0], "a", "overdue");
        glass.review("a", true, "report");
        assertEq(glass.overdue(0, 10).length, 0, "reviewed");
        (, uint64 deadline, uint64 reviewedAt, bool justified, bytes32 reportHash) = glass.declaration("a");
        require(reviewedAt == deadline + 1 && justified && reportHash == "report", "kept");
    }

    /// Any order of reviews leaves exactly the unreviewed ones open.
    function testFuzz_exactlyTheUnreviewedStayOpen(uint256 reviewed) public {
        for (uint256 i = 0; i < 8; ++i) {
            glass.declare(bytes32(i));
        }
        for (uint256 i = 8; i > 0; --i) {
            if (reviewed >> (i - 1) & 1 == 1) glass.review(bytes32(i - 1), false, "r");
        }
        vm.warp(block.timestamp + 100 hours);
        bytes32[] memory open = glass.overdue(0, 100);
        uint256 seen;
        for (uint256 i = 0; i < open.length; ++i) {
            seen |= 1 << uint256(open[i]);
        }
        assertEq(seen, ~reviewed & 0xff, "open");
        assertEq(glass.openCount(), open.length, "count");
        assertEq(glass.overdue(open.length, 5).length, 0, "past the end");
    }

    function test_nobodyDeclaresTwiceReviewsTwiceOrReviewsForOthers() public {
        glass.declare("a");
        vm.expectRevert(abi.encodeWithSelector(BreakGlass.AlreadyDeclared.selector, bytes32("a")));
        glass.declare("a");
        vm.expectRevert(abi.encodeWithSelector(BreakGlass.UnknownDeclaration.selector, bytes32("b")));
        glass.review("b", true, "r");
        vm.expectRevert(abi.encodeWithSelector(BreakGlass.NotDeclarant.selector, bytes32("a"), address(7)));
        vm.prank(address(7));
        glass.review("a", true, "r");
        glass.review("a", true, "r");
        vm.expectRevert(abi.encodeWithSelector(BreakGlass.AlreadyReviewed.selector, bytes32("a")));
        glass.review("a", true, "r");
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        glass.declare("c");
    }

    function test_aReviewPeriodMustBePossible() public {
        vm.expectRevert(BreakGlass.ZeroReviewPeriod.selector);
        new BreakGlass(witnesses, address(this), 0);
    }

    function test_anExpelledHospitalReviewsWhatItDeclaredAndDeclaresNothingMore() public {
        agreeTo(address(glass), abi.encodeCall(Members.admit, (address(7))));
        vm.prank(address(7));
        glass.declare("theirs");
        vm.expectRevert(abi.encodeWithSelector(BreakGlass.NotDeclarant.selector, bytes32("theirs"), address(this)));
        glass.review("theirs", true, "report");
        agreeTo(address(glass), abi.encodeCall(Members.expel, (address(7))));
        vm.prank(address(7));
        glass.review("theirs", true, "report");
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        glass.declare("more");
    }

    /// No account admits or expels alone, not even the one that founded the consortium.
    function testFuzz_nobodyAdmitsOrExpelsAlone(address account) public {
        vm.assume(account != address(witnesses) && account != address(this));
        address[2] memory alone = [account, address(this)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.startPrank(alone[i]);
            vm.expectRevert(abi.encodeWithSelector(Changes.NotAgreed.selector, alone[i]));
            glass.admit(account);
            vm.expectRevert(abi.encodeWithSelector(Changes.NotAgreed.selector, alone[i]));
            glass.expel(address(this));
            vm.stopPrank();
        }
        require(glass.isMember(address(this)) && !glass.isMember(account), "members");
    }

    function test_membersAreNamedOnceAndObeyAContract() public {
        bytes memory already = abi.encodeWithSelector(Members.AlreadyMember.selector, address(this));
        refuse(address(glass), abi.encodeCall(Members.admit, (address(this))), already);
        bytes memory unknown = abi.encodeWithSelector(Members.NotMember.selector, address(7));
        refuse(address(glass), abi.encodeCall(Members.expel, (address(7))), unknown);
        vm.expectRevert(abi.encodeWithSelector(Members.NotAContract.selector, address(7)));
        new BreakGlass(WitnessSet(address(7)), address(this), 1 hours);
    }
}
