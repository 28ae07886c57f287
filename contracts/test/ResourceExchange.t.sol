// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Changes} from "../src/Changes.sol";
import {ResourceExchange} from "../src/ResourceExchange.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {Witnesses} from "./Witnesses.sol";

/// An exchange of three hospitals: place 0 gives, place 1 asks, place 2 looks on.
abstract contract Exchanges is Witnesses {
    uint64 internal constant NOW = 1_767_225_600;
    bytes32 internal constant RESOURCE = "ventilator";

    ResourceExchange internal exchange;

    function deployExchange() internal {
        vm.warp(NOW);
        deployWitnesses(3, 2);
        exchange = new ResourceExchange(witnesses);
    }

    function signed(uint256 hospital, bytes memory message) internal view returns (bytes memory, bytes memory) {
        (bytes[] memory keys, bytes memory signature) = cosign(1 << hospital, message);
        return (keys[0], signature);
    }

    function terms(uint256 hospital, bytes32 id, uint32 quantity)
        internal
        view
        returns (ResourceExchange.Terms memory)
    {
        return ResourceExchange.Terms(
            nameOf(hospital), id, RESOURCE, "salted", quantity, uint64(block.timestamp) + 7 days
        );
    }

    function listCall(ResourceExchange.Kind kind, ResourceExchange.Terms memory given, uint256 signer)
        internal
        view
        returns (bytes memory)
    {
        (bytes memory key, bytes memory signature) = signed(signer, exchange.listMessage(kind, given));
        return abi.encodeCall(ResourceExchange.list, (kind, given, key, signature));
    }

    function promised(uint256 offer, uint256 request, uint32 quantity, bytes32 id)
        internal
        view
        returns (ResourceExchange.Promise memory)
    {
        uint64 now_ = uint64(block.timestamp);
        return ResourceExchange.Promise(id, offer, request, quantity, now_ + 1 days, now_ + 3 days, "salted");
    }

    function promiseCall(ResourceExchange.Promise memory given, uint256 signer) internal view returns (bytes memory) {
        (bytes memory key, bytes memory signature) = signed(signer, exchange.promiseMessage(given));
        return abi.encodeCall(ResourceExchange.promiseTransfer, (given, key, signature));
    }

    function shipCall(uint256 transfer, uint256 signer) internal view returns (bytes memory) {
        (bytes memory key, bytes memory signature) =
            signed(signer, exchange.stepMessage("ship", transfer, nameOf(signer), 0));
        return abi.encodeCall(ResourceExchange.shipTransfer, (transfer, key, signature));
    }

    function receiveCall(uint256 transfer, uint32 arrived, uint256 signer) internal view returns (bytes memory) {
        bytes32 detail = bytes32(uint256(arrived));
        (bytes memory key, bytes memory signature) =
            signed(signer, exchange.stepMessage("receive", transfer, nameOf(signer), detail));
        return abi.encodeCall(ResourceExchange.receiveTransfer, (transfer, arrived, key, signature));
    }

    function disputeCall(uint256 transfer, uint256 hospital, uint256 signer) internal view returns (bytes memory) {
        (bytes memory key, bytes memory signature) =
            signed(signer, exchange.stepMessage("dispute", transfer, nameOf(hospital), "evidence"));
        return
            abi.encodeCall(ResourceExchange.disputeTransfer, (transfer, nameOf(hospital), "evidence", key, signature));
    }

    function settleCall(uint256 transfer, uint32 arrived, uint256 signers) internal view returns (bytes memory) {
        bytes memory message = exchange.stepMessage("settle", transfer, 0, bytes32(uint256(arrived)));
        (bytes[] memory keys, bytes memory aggregate) = cosign(signers, message);
        return abi.encodeCall(ResourceExchange.settleTransfer, (transfer, arrived, keys, aggregate));
    }

    function cancelCall(uint256 transfer, uint256 hospital, uint256 signer) internal view returns (bytes memory) {
        (bytes memory key, bytes memory signature) =
            signed(signer, exchange.stepMessage("cancel", transfer, nameOf(hospital), 0));
        return abi.encodeCall(ResourceExchange.cancelTransfer, (transfer, nameOf(hospital), key, signature));
    }

    function withdrawCall(uint256 listing, uint256 hospital, uint256 signer) internal view returns (bytes memory) {
        (bytes memory key, bytes memory signature) =
            signed(signer, exchange.stepMessage("withdraw", listing, nameOf(hospital), 0));
        return abi.encodeCall(ResourceExchange.withdraw, (listing, key, signature));
    }

    /// Sends a call from a stranger's account: who sends it must not matter.
    function send(bytes memory call) internal {
        vm.prank(address(0xbeef));
        (bool made, bytes memory answer) = address(exchange).call(call);
        if (!made) revert(string(answer));
    }

    function sendRefused(bytes memory call, bytes memory reason) internal {
        (bool made, bytes memory answer) = address(exchange).call(call);
        require(!made, "accepted");
        assertEq(answer, reason, "reason");
    }

    function wrongState(uint256 transfer, ResourceExchange.State state) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ResourceExchange.WrongState.selector, transfer, state);
    }

    /// An offer of 5 by hospital 0 as listing 1, a request for 8 by hospital 1 as listing 2.
    function listBoth() internal {
        send(listCall(ResourceExchange.Kind.Offer, terms(0, "a", 5), 0));
        send(listCall(ResourceExchange.Kind.Request, terms(1, "b", 8), 1));
    }

    function left(uint256 listing) internal view returns (uint32) {
        return exchange.listingAt(listing).left;
    }

    function stateOf(uint256 transfer) internal view returns (ResourceExchange.State) {
        return exchange.transferAt(transfer).state;
    }
}

contract ResourceExchangeTest is Exchanges {
    function setUp() public {
        deployExchange();
        listBoth();
    }

    function test_whatIsOfferedIsPromisedShippedAndReceived() public {
        send(promiseCall(promised(1, 2, 3, "p"), 0));
        assertEq(left(1), 2, "offered");
        assertEq(left(2), 5, "requested");
        send(shipCall(1, 0));
        send(receiveCall(1, 3, 1));
        ResourceExchange.Transfer memory done = exchange.transferAt(1);
        require(done.state == ResourceExchange.State.Received && done.arrived == 3, "received");
        assertEq(exchange.transferOf(nameOf(0), "p"), 1, "id");
        assertEq(exchange.broken(nameOf(0)), 0, "broken");
    }

    /// Nobody signs for another hospital, at any step, whoever sends it.
    function test_everyStepIsSignedByWhoseItIs() public {
        bytes memory forged = abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 0);
        sendRefused(listCall(ResourceExchange.Kind.Offer, terms(0, "c", 1), 2), forged);
        sendRefused(withdrawCall(1, 0, 2), forged);
        sendRefused(promiseCall(promised(1, 2, 3, "p"), 1), forged);
        send(promiseCall(promised(1, 2, 3, "p"), 0));
        sendRefused(shipCall(1, 1), forged);
        sendRefused(cancelCall(1, 0, 1), forged);
        send(shipCall(1, 0));
        sendRefused(receiveCall(1, 3, 0), abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 1));
        sendRefused(disputeCall(1, 0, 1), forged);
        sendRefused(disputeCall(1, 2, 2), abi.encodeWithSelector(ResourceExchange.NotParty.selector, 1, nameOf(2)));
        send(disputeCall(1, 1, 1));
        sendRefused(settleCall(1, 3, 5), abi.encodeWithSelector(WitnessSet.KeyMismatch.selector, 1));
        sendRefused(settleCall(1, 3, 1), abi.encodeWithSelector(WitnessSet.KeyCountMismatch.selector, 2, 1));
    }

    /// A signature over one quantity, id, listing or purpose is worth nothing for another.
    function testFuzz_aSignatureIsForExactlyWhatItSays(uint32 quantity, bytes32 id, uint64 until) public {
        ResourceExchange.Terms memory given = terms(0, "c", 4);
        (bytes memory key, bytes memory signature) = signed(0, exchange.listMessage(ResourceExchange.Kind.Offer, given));
        vm.expectRevert(WitnessSet.InvalidSignature.selector);
        exchange.list(ResourceExchange.Kind.Request, given, key, signature);
        ResourceExchange.Terms memory other = terms(0, id, uint32(bound(quantity, 1, type(uint32).max)));
        other.until = uint64(bound(until, NOW + 1, NOW + 366 days));
        vm.assume(other.id != "a" && (other.id != "c" || other.quantity != 4 || other.until != given.until));
        vm.expectRevert(WitnessSet.InvalidSignature.selector);
        exchange.list(ResourceExchange.Kind.Offer, other, key, signature);
        exchange.list(ResourceExchange.Kind.Offer, given, key, signature);
        vm.expectRevert(abi.encodeWithSelector(ResourceExchange.RequestReplayed.selector, nameOf(0), bytes32("c")));
        exchange.list(ResourceExchange.Kind.Offer, given, key, signature);
    }

    /// What is promised never exceeds what is left on either side, in any split.
    function testFuzz_nothingIsPromisedTwice(uint32 first, uint32 second) public {
        (first, second) = (uint32(bound(first, 1, 5)), uint32(bound(second, 1, 8)));
        send(promiseCall(promised(1, 2, first, "p"), 0));
        bytes memory more = promiseCall(promised(1, 2, second, "q"), 0);
        if (first + second > 5) {
            sendRefused(more, abi.encodeWithSelector(ResourceExchange.NotLeft.selector, 1, 5 - first, second));
        } else {
            send(more);
            assertEq(left(1), 5 - first - second, "offered");
            assertEq(left(2), 8 - first - second, "requested");
        }
        sendRefused(
            promiseCall(promised(1, 2, 0, "z"), 0),
            abi.encodeWithSelector(ResourceExchange.NotLeft.selector, 1, left(1), 0)
        );
    }

    function test_aPromiseThatIsNotShippedInTimeIsBrokenAndUndone() public {
        send(promiseCall(promised(1, 2, 3, "p"), 0));
        vm.warp(NOW + 1 days);
        sendRefused(
            abi.encodeCall(ResourceExchange.lapseTransfer, (1)),
            abi.encodeWithSelector(ResourceExchange.TooEarly.selector, 1, NOW + 1 days)
        );
        vm.warp(NOW + 1 days + 1);
        sendRefused(shipCall(1, 0), abi.encodeWithSelector(ResourceExchange.TooLate.selector, 1, NOW + 1 days));
        send(abi.encodeCall(ResourceExchange.lapseTransfer, (1)));
        assertEq(exchange.broken(nameOf(0)), 1, "broken");
        assertEq(left(1), 5, "offered");
        assertEq(left(2), 8, "requested");
        sendRefused(shipCall(1, 0), wrongState(1, ResourceExchange.State.Lapsed));
    }

    function test_eitherOfTheTwoCancelsBeforeItIsShippedAndAGiverBreaksItsWord() public {
        send(promiseCall(promised(1, 2, 3, "p"), 0));
        sendRefused(cancelCall(1, 2, 2), abi.encodeWithSelector(ResourceExchange.NotParty.selector, 1, nameOf(2)));
        send(cancelCall(1, 1, 1));
        assertEq(exchange.broken(nameOf(0)) + exchange.broken(nameOf(1)), 0, "receiver");
        send(promiseCall(promised(1, 2, 3, "q"), 0));
        send(cancelCall(2, 0, 0));
        assertEq(exchange.broken(nameOf(0)), 1, "giver");
        assertEq(left(1) + left(2), 13, "undone");
        send(promiseCall(promised(1, 2, 3, "r"), 0));
        send(shipCall(3, 0));
        sendRefused(cancelCall(3, 1, 1), wrongState(3, ResourceExchange.State.Shipped));
    }

    function test_aDisputeIsSettledByBothOrByAQuorum() public {
        for (uint256 i = 1; i < 3; ++i) {
            send(promiseCall(promised(1, 2, 2, bytes32(i)), 0));
            send(shipCall(i, 0));
        }
        send(receiveCall(1, 1, 1));
        send(disputeCall(1, 0, 0));
        sendRefused(settleCall(1, 3, 3), abi.encodeWithSelector(ResourceExchange.MoreThanPromised.selector, 1, 2, 3));
        send(settleCall(1, 2, 3));
        assertEq(exchange.transferAt(1).arrived, 2, "settled");
        sendRefused(settleCall(1, 1, 3), wrongState(1, ResourceExchange.State.Settled));
        send(disputeCall(2, 1, 1));
        bytes memory decide = abi.encodeCall(ResourceExchange.decideTransfer, (2, 0));
        vm.expectRevert(abi.encodeWithSelector(Changes.NotAgreed.selector, address(this)));
        exchange.decideTransfer(2, 0);
        agreeTo(address(exchange), decide);
        require(stateOf(2) == ResourceExchange.State.Settled && exchange.transferAt(2).arrived == 0, "decided");
    }

    function test_whatWasReceivedIsDisputedForAFortnight() public {
        send(promiseCall(promised(1, 2, 2, "p"), 0));
        sendRefused(disputeCall(1, 0, 0), wrongState(1, ResourceExchange.State.Promised));
        send(shipCall(1, 0));
        sendRefused(receiveCall(1, 3, 1), abi.encodeWithSelector(ResourceExchange.MoreThanPromised.selector, 1, 2, 3));
        vm.warp(NOW + 30 days);
        vm.expectEmit(true, false, false, true);
        emit ResourceExchange.Received(1, 0, true);
        (bool made,) = address(exchange).call(receiveCall(1, 0, 1));
        require(made, "late is recorded as late");
        vm.warp(NOW + 44 days + 1);
        sendRefused(disputeCall(1, 0, 0), abi.encodeWithSelector(ResourceExchange.TooLate.selector, 1, NOW + 44 days));
        vm.warp(NOW + 44 days);
        send(disputeCall(1, 0, 0));
        sendRefused(disputeCall(1, 1, 1), wrongState(1, ResourceExchange.State.Disputed));
    }

    function test_onlyWhatMatchesIsPromised() public {
        ResourceExchange.Terms memory blood = terms(1, "blood", 8);
        blood.resource = "blood";
        send(listCall(ResourceExchange.Kind.Request, blood, 1)); // 3: another resource
        send(listCall(ResourceExchange.Kind.Request, terms(0, "own", 8), 0)); // 4: the giver's own request
        uint256[2][4] memory pairs = [[uint256(1), 3], [uint256(1), 4], [uint256(1), 1], [uint256(2), 2]];
        for (uint256 i = 0; i < 4; ++i) {
            sendRefused(
                promiseCall(promised(pairs[i][0], pairs[i][1], 1, "p"), 0),
                abi.encodeWithSelector(ResourceExchange.NotMatching.selector, pairs[i][0], pairs[i][1])
            );
        }
        sendRefused(
            promiseCall(promised(1, 9, 1, "p"), 0), abi.encodeWithSelector(ResourceExchange.UnknownListing.selector, 9)
        );
    }

    function test_aListingEndsInTimeOrWhenItIsWithdrawnForGood() public {
        send(promiseCall(promised(1, 2, 3, "p"), 0));
        send(withdrawCall(2, 1, 1));
        bytes memory ended = abi.encodeWithSelector(ResourceExchange.ListingEnded.selector, 2, NOW - 1);
        sendRefused(promiseCall(promised(1, 2, 1, "q"), 0), ended);
        send(cancelCall(1, 1, 1));
        sendRefused(promiseCall(promised(1, 2, 1, "q"), 0), ended);
        sendRefused(withdrawCall(2, 1, 1), ended);
        vm.warp(NOW + 7 days + 1);
        sendRefused(
            promiseCall(promised(1, 2, 1, "q"), 0),
            abi.encodeWithSelector(ResourceExchange.ListingEnded.selector, 1, NOW + 7 days)
        );
    }

    function test_deadlinesLieAheadAndInTheirOrder() public {
        ResourceExchange.Terms memory given = terms(0, "c", 1);
        uint64[3] memory wrong = [NOW, NOW - 1, NOW + 366 days + 1];
        for (uint256 i = 0; i < 3; ++i) {
            given.until = wrong[i];
            bytes memory reason = abi.encodeWithSelector(ResourceExchange.ImpossibleDeadline.selector, NOW, wrong[i]);
            sendRefused(listCall(ResourceExchange.Kind.Offer, given, 0), reason);
        }
        ResourceExchange.Promise memory made = promised(1, 2, 1, "p");
        made.shipBy = NOW;
        sendRefused(
            promiseCall(made, 0), abi.encodeWithSelector(ResourceExchange.ImpossibleDeadline.selector, NOW, NOW)
        );
        (made.shipBy, made.receiveBy) = (NOW + 2 days, NOW + 2 days);
        sendRefused(
            promiseCall(made, 0),
            abi.encodeWithSelector(ResourceExchange.ImpossibleDeadline.selector, NOW, NOW + 2 days)
        );
        made.receiveBy = NOW + 7 days + 1; // the request is to be met before
        sendRefused(
            promiseCall(made, 0),
            abi.encodeWithSelector(ResourceExchange.ImpossibleDeadline.selector, NOW + 7 days, NOW + 7 days + 1)
        );
    }

    function test_nothingIsListedWithoutAWordOrAQuantity() public {
        ResourceExchange.Terms memory given = terms(0, "c", 0);
        bytes memory reason = abi.encodeWithSelector(ResourceExchange.NothingListed.selector);
        sendRefused(listCall(ResourceExchange.Kind.Offer, given, 0), reason);
        (given.quantity, given.resource) = (1, 0);
        sendRefused(listCall(ResourceExchange.Kind.Offer, given, 0), reason);
        sendRefused(listCall(ResourceExchange.Kind.None, terms(0, "c", 1), 0), reason);
        vm.expectRevert(abi.encodeWithSelector(ResourceExchange.NotAContract.selector, address(7)));
        new ResourceExchange(WitnessSet(address(7)));
    }

    function test_aRetiredHospitalSignsNothingMore() public {
        send(promiseCall(promised(1, 2, 3, "p"), 0));
        agree(abi.encodeCall(WitnessSet.retire, (0)));
        sendRefused(shipCall(1, 0), abi.encodeWithSelector(WitnessSet.UnknownName.selector, nameOf(0)));
        send(cancelCall(1, 1, 1));
    }
}
