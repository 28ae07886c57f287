// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ResourceExchange} from "../src/ResourceExchange.sol";
import {Exchanges} from "./ResourceExchange.t.sol";

/// Three hospitals take any steps in any order. Signatures are taken as given: what they bind is tested elsewhere.
contract ExchangeHandler is Exchanges {
    uint256 public constant LISTINGS = 6;

    uint256 private _ids;

    constructor() {
        deployExchange();
        vm.mockCall(address(witnesses), abi.encodeWithSelector(witnesses.requireSignedBy.selector), "");
        for (uint256 i = 0; i < LISTINGS; ++i) {
            ResourceExchange.Kind kind = i % 2 == 0 ? ResourceExchange.Kind.Offer : ResourceExchange.Kind.Request;
            exchange.list(kind, terms(i % 3, bytes32(i), uint32(5 + i)), "", "");
        }
    }

    function the() external view returns (ResourceExchange) {
        return exchange;
    }

    function promise_(uint256 offer, uint256 request, uint32 quantity) external {
        ResourceExchange.Promise memory given =
            promised(1 + offer % LISTINGS, 1 + request % LISTINGS, quantity % 12, bytes32(++_ids));
        try exchange.promiseTransfer(given, "", "") {} catch {}
    }

    function step(uint256 transfer, uint256 which, uint32 arrived, uint256 hospital) external {
        uint256 count = exchange.transfers();
        if (count == 0) return;
        transfer = 1 + transfer % count;
        bytes32 name = nameOf(hospital % 3);
        which %= 7;
        arrived %= 12;
        if (which == 0) try exchange.shipTransfer(transfer, "", "") {} catch {}
        if (which == 1) try exchange.receiveTransfer(transfer, arrived, "", "") {} catch {}
        if (which == 2) try exchange.disputeTransfer(transfer, name, "e", "", "") {} catch {}
        if (which == 3) try exchange.settleTransfer(transfer, arrived, new bytes[](2), "") {} catch {}
        if (which == 4) try exchange.cancelTransfer(transfer, name, "", "") {} catch {}
        if (which == 5) try exchange.lapseTransfer(transfer) {} catch {}
        if (which == 6) try exchange.withdraw(1 + transfer % LISTINGS, "", "") {} catch {}
    }

    function wait_(uint256 time) external {
        vm.warp(block.timestamp + time % 1 days);
    }
}

contract ResourceExchangeInvariantTest {
    ExchangeHandler private _handler;

    function setUp() public {
        _handler = new ExchangeHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// What a listing has left, and what transfers took that were not undone, is what was listed: nothing is promised
    /// twice, nothing is lost.
    function invariant_quantitiesAreConserved() public view {
        ResourceExchange exchange = _handler.the();
        for (uint256 listing = 1; listing <= _handler.LISTINGS(); ++listing) {
            ResourceExchange.Listing memory found = exchange.listingAt(listing);
            uint256 taken = 0;
            for (uint256 i = 1; i <= exchange.transfers(); ++i) {
                ResourceExchange.Transfer memory one = exchange.transferAt(i);
                bool undone =
                    one.state == ResourceExchange.State.Cancelled || one.state == ResourceExchange.State.Lapsed;
                if (!undone && (one.offer == listing || one.request == listing)) taken += one.quantity;
            }
            require(found.left + taken == found.quantity, "conserved");
        }
    }

    /// Nothing arrives before it was shipped, and never more than was promised; both sides deal in one resource.
    function invariant_noMoreArrivesThanWasPromised() public view {
        ResourceExchange exchange = _handler.the();
        for (uint256 i = 1; i <= exchange.transfers(); ++i) {
            ResourceExchange.Transfer memory one = exchange.transferAt(i);
            require(one.arrived <= one.quantity && one.quantity != 0, "arrived");
            require(one.receivedAt == 0 || one.state >= ResourceExchange.State.Received, "received");
            ResourceExchange.Listing memory offered = exchange.listingAt(one.offer);
            ResourceExchange.Listing memory requested = exchange.listingAt(one.request);
            require(
                offered.kind == ResourceExchange.Kind.Offer && requested.kind == ResourceExchange.Kind.Request
                    && offered.resource == requested.resource && offered.hospital != requested.hospital,
                "matching"
            );
        }
    }
}
