// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {WitnessSet} from "../src/WitnessSet.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Cheats} from "./Cheats.sol";

/// A set of witnesses whose secrets the tests hold: the witness at place i has the secret `i + 1000`.
abstract contract Witnesses is Cheats {
    WitnessSet internal witnesses;

    function secretOf(uint256 index) internal pure returns (uint256) {
        return index + 1000;
    }

    function deployWitnesses(uint256 count, uint32 quorum) internal {
        witnesses = new WitnessSet(address(this));
        for (uint256 i = 0; i < count; ++i) {
            register(i);
        }
        if (quorum != 0) witnesses.setQuorum(quorum);
    }

    function register(uint256 i) internal returns (uint256) {
        bytes memory key = BlsSigner.publicKey(secretOf(i));
        return witnesses.register(bytes32(i + 1), key, BlsSigner.provePossession(secretOf(i)));
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
