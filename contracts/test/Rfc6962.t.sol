// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Rfc6962} from "../src/Rfc6962.sol";
import {Cheats} from "./Cheats.sol";
import {ReferenceTree} from "./ReferenceTree.sol";

contract Rfc6962Harness {
    function requireConsistent(uint64 m, uint64 n, bytes32 r1, bytes32 r2, bytes32[] calldata proof) external view {
        Rfc6962.requireConsistent(m, n, r1, r2, proof);
    }

    function nodeHash(bytes32 left, bytes32 right) external view returns (bytes32) {
        return Rfc6962.nodeHash(left, right);
    }
}

contract Rfc6962Test is Cheats {
    uint256 private constant MOST = 48;
    Rfc6962Harness private harness = new Rfc6962Harness();

    function testFuzz_nodeHashIsRfc6962s(bytes32 left, bytes32 right) public view {
        assertEq(harness.nodeHash(left, right), sha256(abi.encodePacked(bytes1(0x01), left, right)), "node hash");
    }

    /// Every pair of sizes up to 18, which holds every shape of proof.
    function test_everySmallPairVerifies() public view {
        bytes32[] memory d = ReferenceTree.leaves("small", 18);
        for (uint256 n = 2; n <= 18; ++n) {
            for (uint256 m = 1; m < n; ++m) {
                harness.requireConsistent(
                    uint64(m),
                    uint64(n),
                    ReferenceTree.root(d, 0, m),
                    ReferenceTree.root(d, 0, n),
                    ReferenceTree.proof(d, m, n)
                );
            }
        }
    }

    function testFuzz_aTrueProofVerifiesAndAnyChangeIsRefused(
        bytes32 seed,
        uint256 a,
        uint256 b,
        uint256 where,
        uint8 bit
    ) public {
        uint64 n = uint64(bound(a, 2, MOST));
        uint64 m = uint64(bound(b, 1, n - 1));
        bytes32[] memory d = ReferenceTree.leaves(seed, n);
        (bytes32 r1, bytes32 r2) = (ReferenceTree.root(d, 0, m), ReferenceTree.root(d, 0, n));
        bytes32[] memory proof = ReferenceTree.proof(d, m, n);
        harness.requireConsistent(m, n, r1, r2, proof);

        bytes32 flip = bytes32(uint256(1) << bit);
        _refused(m, n, r1 ^ flip, r2, proof);
        _refused(m, n, r1, r2 ^ flip, proof);
        if (proof.length == 0) return;
        proof[where % proof.length] ^= flip;
        _refused(m, n, r1, r2, proof);
    }

    function testFuzz_aProofOfAnotherLengthIsRefused(bytes32 seed, uint256 a, uint256 b) public {
        uint64 n = uint64(bound(a, 2, MOST));
        uint64 m = uint64(bound(b, 1, n - 1));
        bytes32[] memory d = ReferenceTree.leaves(seed, n);
        (bytes32 r1, bytes32 r2) = (ReferenceTree.root(d, 0, m), ReferenceTree.root(d, 0, n));
        bytes32[] memory proof = ReferenceTree.proof(d, m, n);
        bytes32[] memory shorter = new bytes32[](proof.length - 1);
        bytes32[] memory longer = new bytes32[](proof.length + 1);
        for (uint256 i = 0; i < proof.length; ++i) {
            longer[i] = proof[i];
            if (i < shorter.length) shorter[i] = proof[i];
        }
        _refused(m, n, r1, r2, shorter);
        _refused(m, n, r1, r2, longer);
        _refused(m, n, r1, r2, new bytes32[](0));
    }

    /// A true proof to half of the tree, offered as one to all of it, with the half's root: only the length is wrong.
    function test_aProofThatStopsAtAnInnerNodeIsRefused() public {
        for (uint64 n = 4; n <= 32; n *= 2) {
            bytes32[] memory d = ReferenceTree.leaves("inner", n);
            bytes32 half = ReferenceTree.root(d, 0, n / 2);
            for (uint64 m = 1; m < n / 2; ++m) {
                _refused(m, n, ReferenceTree.root(d, 0, m), half, ReferenceTree.proof(d, m, n / 2));
            }
        }
    }

    function test_sizesOutOfOrderAreRefused() public {
        bytes32[] memory none = new bytes32[](0);
        _refused(0, 0, 0, 0, none);
        _refused(0, 5, 0, "r", none);
        _refused(5, 5, "r", "r", none);
        _refused(6, 5, "r", "r", none);
    }

    function _refused(uint64 m, uint64 n, bytes32 r1, bytes32 r2, bytes32[] memory proof) private {
        vm.expectRevert(abi.encodeWithSelector(Rfc6962.InconsistentTree.selector, m, n));
        harness.requireConsistent(m, n, r1, r2, proof);
    }
}
