// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AccessAnchor} from "../src/AccessAnchor.sol";
import {Rfc6962} from "../src/Rfc6962.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {ReferenceTree} from "./ReferenceTree.sol";
import {Witnesses} from "./Witnesses.sol";

contract AccessAnchorTest is Witnesses {
    bytes32 private constant LOG = "log";
    uint64 private constant NOW = 1_767_225_600;
    uint256 private constant LEAVES = 40;

    AccessAnchor private anchor;
    bytes32[] private tree;

    struct Offer {
        bytes32 logId;
        uint64 size;
        bytes32 root;
        uint64 time;
        bytes32[] proof;
        uint256 bitmap;
    }

    event Anchored(bytes32 indexed logId, uint64 indexed size, bytes32 root, uint64 time, uint64 epoch, uint256 bitmap);

    function setUp() public {
        vm.warp(NOW);
        deployWitnesses(3, 2);
        anchor = new AccessAnchor(witnesses);
        tree = ReferenceTree.leaves("anchor", LEAVES);
    }

    function testFuzz_aGrowingLogIsAnchored(uint256 a, uint256 b, uint256 signers) public {
        uint64 second = uint64(bound(b, 2, LEAVES));
        uint64 first = uint64(bound(a, 1, second - 1));
        uint256 bitmap = [uint256(3), 5, 6, 7][signers % 4];
        _send(_offer(0, first, bitmap));
        Offer memory offer = _offer(first, second, bitmap);
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        vm.expectEmit(true, true, false, true);
        emit Anchored(LOG, second, offer.root, NOW, 4, bitmap);
        _anchor(offer, keys, aggregate);
        (bytes32 root, uint64 size, uint64 time, uint64 epoch) = anchor.latest(LOG);
        assertEq(root, offer.root, "root");
        assertEq(size, second, "size");
        assertEq(time, NOW, "time");
        assertEq(epoch, 4, "epoch");
    }

    function test_logsAreApart() public {
        _send(_offer(0, 5, 3));
        Offer memory other = _offer(0, 3, 3);
        other.logId = "other";
        _send(other);
        (, uint64 size,,) = anchor.latest(LOG);
        assertEq(size, 5, "first log");
        (, size,,) = anchor.latest("other");
        assertEq(size, 3, "other log");
    }

    function test_staleAndReplayedAreRefused() public {
        Offer memory offer = _offer(0, 9, 7);
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        _anchor(offer, keys, aggregate);
        vm.expectRevert(abi.encodeWithSelector(AccessAnchor.NotAppended.selector, 9, 9));
        _anchor(offer, keys, aggregate);
        offer = _offer(0, 8, 7);
        (keys, aggregate) = _signed(offer);
        vm.expectRevert(abi.encodeWithSelector(AccessAnchor.NotAppended.selector, 9, 8));
        _anchor(offer, keys, aggregate);
    }

    function test_anEmptyTreeIsNeverAnchored() public {
        Offer memory offer = _offer(0, 1, 7);
        offer.size = 0;
        _refused(offer, abi.encodeWithSelector(AccessAnchor.NotAppended.selector, 0, 0));
    }

    /// The whole quorum signs a rewritten log: the chain still refuses it.
    function testFuzz_aRewrittenLogIsRefused(uint256 a, uint256 b, uint256 victim) public {
        uint64 second = uint64(bound(b, 2, LEAVES));
        uint64 first = uint64(bound(a, 1, second - 1));
        _send(_offer(0, first, 7));
        tree[bound(victim, 0, first - 1)] ^= bytes32(uint256(1));
        _refused(_offer(first, second, 7), abi.encodeWithSelector(Rfc6962.InconsistentTree.selector, first, second));
    }

    function test_aFirstCheckpointHasNoProof() public {
        Offer memory offer = _offer(0, 5, 7);
        offer.proof = new bytes32[](1);
        _refused(offer, abi.encodeWithSelector(AccessAnchor.UnexpectedProof.selector, 1));
    }

    function test_timeGoesForward() public {
        _send(_offer(0, 5, 7));
        Offer memory offer = _offer(5, 6, 7);
        offer.time = NOW - 1;
        _refused(offer, abi.encodeWithSelector(AccessAnchor.TimeWentBack.selector, NOW, NOW - 1));
        offer.time = NOW + 15 minutes + 1;
        _refused(offer, abi.encodeWithSelector(AccessAnchor.TimeAhead.selector, NOW, NOW + 15 minutes + 1));
        offer.time = NOW + 15 minutes;
        _send(offer);
    }

    function test_tooFewSignersAreRefused() public {
        _refused(_offer(0, 5, 4), abi.encodeWithSelector(WitnessSet.QuorumNotReached.selector, 1, 2));
    }

    /// Signed for something else: each field that the message binds, one at a time.
    function testFuzz_aSignatureCountsForItsOwnOfferOnly(uint256 field) public {
        Offer memory offer = _offer(0, 5, 7);
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        field %= 4;
        if (field == 0) offer.logId = "other";
        if (field == 1) offer.size = 6;
        if (field == 2) offer.root ^= bytes32(uint256(1));
        if (field == 3) offer.time -= 1;
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        _anchor(offer, keys, aggregate);
    }

    function test_aSignatureForAnotherChainIsRefused() public {
        Offer memory offer = _offer(0, 5, 7);
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        vm.chainId(4242);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        _anchor(offer, keys, aggregate);
    }

    function test_aSignatureForAnotherContractIsRefused() public {
        Offer memory offer = _offer(0, 5, 7);
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        anchor = new AccessAnchor(witnesses);
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        _anchor(offer, keys, aggregate);
    }

    function test_aSignatureOfAnEarlierEpochIsRefused() public {
        Offer memory offer = _offer(0, 5, 3);
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        agree(abi.encodeCall(WitnessSet.setQuorum, (2)));
        vm.expectRevert(WitnessSet.InvalidQuorumSignature.selector);
        _anchor(offer, keys, aggregate);
        _send(offer);
    }

    function test_anybodyMaySendWhatAQuorumSigned() public {
        Offer memory offer = _offer(0, 5, 3);
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        vm.prank(address(7));
        _anchor(offer, keys, aggregate);
    }

    function test_theWitnessSetMustBeAContract() public {
        vm.expectRevert(abi.encodeWithSelector(AccessAnchor.NotAContract.selector, address(7)));
        new AccessAnchor(WitnessSet(address(7)));
    }

    function _offer(uint64 from, uint64 size, uint256 bitmap) private view returns (Offer memory) {
        bytes32[] memory d = tree;
        bytes32[] memory proof = from == 0 ? new bytes32[](0) : ReferenceTree.proof(d, from, size);
        return Offer(LOG, size, ReferenceTree.root(d, 0, size), NOW, proof, bitmap);
    }

    function _signed(Offer memory offer) private view returns (bytes[] memory, bytes memory) {
        return cosign(offer.bitmap, anchor.cosignedMessage(offer.logId, offer.size, offer.root, offer.time));
    }

    function _send(Offer memory offer) private {
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        _anchor(offer, keys, aggregate);
    }

    function _refused(Offer memory offer, bytes memory reason) private {
        (bytes[] memory keys, bytes memory aggregate) = _signed(offer);
        vm.expectRevert(reason);
        _anchor(offer, keys, aggregate);
    }

    function _anchor(Offer memory offer, bytes[] memory keys, bytes memory aggregate) private {
        anchor.anchor(offer.logId, offer.size, offer.root, offer.time, offer.proof, offer.bitmap, keys, aggregate);
    }
}
