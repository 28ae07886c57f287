// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {WitnessSet} from "../src/WitnessSet.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Cheats} from "./Cheats.sol";

/// A set of witnesses whose secrets the tests hold: the witness at place i has the secret `i + 1000`.
abstract contract Witnesses is Cheats {
    uint64 internal constant DELAY = 3 days;

    WitnessSet internal witnesses;

    function secretOf(uint256 index) internal pure returns (uint256) {
        return index + 1000;
    }

    function deployWitnesses(uint256 count, uint32 quorum) internal {
        witnesses = new WitnessSet(address(this), DELAY);
        for (uint256 i = 0; i < count; ++i) {
            register(i);
        }
        if (quorum != 0) witnesses.setQuorum(quorum);
    }

    function register(uint256 i) internal returns (uint256) {
        bytes memory key = BlsSigner.publicKey(secretOf(i));
        return witnesses.register(nameOf(i), key, BlsSigner.provePossession(secretOf(i)));
    }

    /// The name of the witness at place i.
    function nameOf(uint256 i) internal pure returns (bytes32) {
        return bytes32(i + 1);
    }

    /// Has all active witnesses agree to a change of the set itself.
    function agree(bytes memory call) internal {
        agreeTo(address(witnesses), call);
    }

    function agreeTo(address target, bytes memory call) internal {
        uint256 bitmap = witnesses.active();
        (bytes[] memory keys, bytes memory aggregate) = cosign(bitmap, witnesses.agreementMessage(target, call));
        witnesses.agree(target, call, bitmap, keys, aggregate);
    }

    /// The same where it must be refused.
    function refuse(address target, bytes memory call, bytes memory reason) internal {
        uint256 bitmap = witnesses.active();
        (bytes[] memory keys, bytes memory aggregate) = cosign(bitmap, witnesses.agreementMessage(target, call));
        vm.expectRevert(reason);
        witnesses.agree(target, call, bitmap, keys, aggregate);
    }

    /// Keys and aggregate of the witnesses in a bitmap over a message.
    function cosign(uint256 bitmap, bytes memory message)
        internal
        view
        returns (bytes[] memory keys, bytes memory aggregate)
    {
        uint256 count;
        for (uint256 bits = bitmap; bits != 0; bits &= bits - 1) {
            ++count;
        }
        keys = new bytes[](count);
        uint256 next;
        for (uint256 i = 0; i < 256; ++i) {
            if (bitmap >> i & 1 == 0) continue;
            bytes memory signature = BlsSigner.sign(secretOf(i), message);
            keys[next] = BlsSigner.publicKey(secretOf(i));
            aggregate = next == 0 ? signature : BlsSigner.add(aggregate, signature);
            ++next;
        }
        if (count == 0) aggregate = new bytes(256);
    }
}
