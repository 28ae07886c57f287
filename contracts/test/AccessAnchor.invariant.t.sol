// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AccessAnchor} from "../src/AccessAnchor.sol";
import {ReferenceTree} from "./ReferenceTree.sol";
import {Witnesses} from "./Witnesses.sol";

/// Sends honest and dishonest checkpoints in any order, and remembers what must stand.
contract AnchorHandler is Witnesses {
    uint256 private constant LEAVES = 24;
    bytes32 public constant LOG = "log";

    AccessAnchor public anchor;
    uint64 public size;
    bytes32 public root;
    uint256 public accepted;
    bool public fooled;
    bytes32[] private _tree;

    constructor() {
        vm.warp(1_767_225_600);
        deployWitnesses(3, 2);
        anchor = new AccessAnchor(witnesses);
        _tree = ReferenceTree.leaves("invariant", LEAVES);
    }

    function honest(uint256 target) external {
        if (size == LEAVES) return;
        uint64 next = uint64(bound(target, size + 1, LEAVES));
        bytes32 nextRoot = ReferenceTree.root(_tree, 0, next);
        require(
            _offer(next, nextRoot, size == 0 ? new bytes32[](0) : ReferenceTree.proof(_tree, size, next), 7), "honest"
        );
        (size, root) = (next, nextRoot);
        ++accepted;
    }

    function rollback(uint256 target) external {
        if (size == 0) return;
        uint64 back = uint64(bound(target, 1, size));
        if (_offer(back, ReferenceTree.root(_tree, 0, back), new bytes32[](0), 7)) fooled = true;
    }

    function fork(uint256 target, bytes32 forged, bytes32[] calldata proof) external {
        if (size == 0 || proof.length > 8) return;
        if (_offer(uint64(bound(target, size + 1, 1000)), forged, proof, 7)) fooled = true;
    }

    function underQuorum(uint256 target, uint256 witness) external {
        if (size == LEAVES) return;
        uint64 next = uint64(bound(target, size + 1, LEAVES));
        bytes32[] memory proof = size == 0 ? new bytes32[](0) : ReferenceTree.proof(_tree, size, next);
        if (_offer(next, ReferenceTree.root(_tree, 0, next), proof, 1 << witness % 3)) fooled = true;
    }

    function _offer(uint64 next, bytes32 nextRoot, bytes32[] memory proof, uint256 bitmap) private returns (bool ok) {
        uint64 time = uint64(block.timestamp);
        (bytes[] memory keys, bytes memory aggregate) =
            cosign(bitmap, anchor.cosignedMessage(LOG, next, nextRoot, time));
        (ok,) = address(anchor)
            .call(abi.encodeCall(AccessAnchor.anchor, (LOG, next, nextRoot, time, proof, bitmap, keys, aggregate)));
    }
}

contract AccessAnchorInvariantTest {
    AnchorHandler private _handler;

    function setUp() public {
        _handler = new AnchorHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// The head is always the last honest checkpoint: whatever else is sent, even signed by everyone, changes nothing.
    function invariant_theHeadIsTheLastHonestCheckpoint() public view {
        (bytes32 root, uint64 size,,) = _handler.anchor().latest(_handler.LOG());
        require(!_handler.fooled(), "accepted a dishonest checkpoint");
        require(size == _handler.size() && root == _handler.root(), "head");
    }
}
