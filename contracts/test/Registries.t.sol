// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BreakGlass} from "../src/BreakGlass.sol";
import {ConsentRegistry} from "../src/ConsentRegistry.sol";
import {Members} from "../src/Members.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {Cheats} from "./Cheats.sol";

contract ModelRegistryTest is Cheats {
    ModelRegistry private registry = new ModelRegistry(address(this));

    function testFuzz_modelsAreNumberedAndKept(uint64 epsilon, uint64 delta, bytes32 hash) public {
        epsilon = uint64(bound(epsilon, 1, type(uint64).max));
        delta = uint64(bound(delta, 0, 1e12 - 1));
        vm.assume(hash != 0 && hash != "first");
        registry.register("study", "first", "card", 1, 1);
        assertEq(registry.register("study", hash, "card", epsilon, delta), 2, "number");
        ModelRegistry.Model memory model = registry.model(2);
        assertEq(model.modelHash, hash, "hash");
        assertEq(model.epsilonMicros, epsilon, "epsilon");
        assertEq(model.deltaE12, delta, "delta");
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.AlreadyRegistered.selector, hash, 2));
        registry.register("other", hash, "card", epsilon, delta);
    }

    function test_implausibleEntriesAreRefused() public {
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ImplausiblePrivacy.selector, 0, 1));
        registry.register("s", "m", "c", 0, 1);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ImplausiblePrivacy.selector, 1, 1e12));
        registry.register("s", "m", "c", 1, 1e12);
        vm.expectRevert(ModelRegistry.EmptyHash.selector);
        registry.register("s", 0, "c", 1, 1);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.UnknownModel.selector, 0));
        registry.model(0);
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        registry.register("s", "m", "c", 1, 1);
    }
}

contract ConsentRegistryTest is Cheats {
    ConsentRegistry private registry = new ConsentRegistry(address(this));

    function testFuzz_aConsentIsGivenOnceAndWithdrawnForGood(bytes32 commitment) public {
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.UnknownConsent.selector, commitment));
        registry.revoke(commitment);
        require(!registry.isGranted(commitment), "before");
        vm.warp(1000);
        registry.grant(commitment);
        require(registry.isGranted(commitment), "granted");
        vm.warp(2000);
        registry.revoke(commitment);
        require(!registry.isGranted(commitment), "revoked");
        (address grantor, uint64 grantedAt, uint64 revokedAt) = registry.consent(commitment);
        require(grantor == address(this) && grantedAt == 1000 && revokedAt == 2000, "times");
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.AlreadyRevoked.selector, commitment, 2000));
        registry.revoke(commitment);
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.AlreadyGranted.selector, commitment));
        registry.grant(commitment);
    }

    function test_onlyItsHospitalWithdrawsAConsent() public {
        registry.grant("c");
        registry.admit(address(7));
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.NotGrantor.selector, bytes32("c"), address(7)));
        vm.prank(address(7));
        registry.revoke("c");
        vm.prank(address(7));
        registry.grant("d");
        registry.expel(address(7));
        vm.prank(address(7));
        registry.revoke("d");
        vm.expectRevert(abi.encodeWithSelector(Members.NotMember.selector, address(7)));
        vm.prank(address(7));
        registry.grant("e");
    }
}

contract BreakGlassTest is Cheats {
    BreakGlass private glass = new BreakGlass(address(this), 72 hours);

    function setUp() public {
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
        new BreakGlass(address(this), 0);
    }
}
