// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {WitnessSet} from "../src/WitnessSet.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Witnesses} from "./Witnesses.sol";

/// Registers, retires and sets quorums in any order, the impossible ones too, and counts what was accepted. Its owner
/// founds; afterwards all active witnesses agree, or it tries alone.
contract WitnessSetHandler is Witnesses {
    uint256 private constant MOST = 6;
    bytes private constant MESSAGE = "message";

    uint64 public changes;
    bool public fooled;

    constructor() {
        deployWitnesses(0, 0);
    }

    function set() external view returns (WitnessSet) {
        return witnesses;
    }

    function join() external {
        if (witnesses.registered() == MOST) return;
        uint256 place = witnesses.registered();
        bytes memory key = BlsSigner.publicKey(secretOf(place));
        bytes memory proof = BlsSigner.provePossession(secretOf(place));
        _change(abi.encodeCall(WitnessSet.register, (nameOf(place), key, proof)));
    }

    function retire(uint256 index) external {
        _change(abi.encodeCall(WitnessSet.retire, (index % (MOST + 1))));
    }

    function setQuorum(uint32 quorum) external {
        _change(abi.encodeCall(WitnessSet.setQuorum, (quorum % uint32(MOST + 2))));
    }

    /// Its owner alone, once the consortium is founded.
    function alone(uint32 quorum) external {
        if (witnesses.quorum() == 0) return;
        (bool passed,) = address(witnesses).call(abi.encodeCall(WitnessSet.setQuorum, (quorum % uint32(MOST + 2))));
        if (passed) fooled = true;
    }

    /// Whoever signs: it passes exactly where all are active and enough.
    function cosigned(uint256 bitmap) external {
        bitmap = bound(bitmap, 1, 2 ** MOST - 1);
        (bytes[] memory keys, bytes memory aggregate) = cosign(bitmap, MESSAGE);
        bool due = witnesses.quorum() != 0 && bitmap & ~witnesses.active() == 0 && keys.length >= witnesses.quorum();
        (bool passed,) =
            address(witnesses).call(abi.encodeCall(WitnessSet.requireQuorum, (MESSAGE, bitmap, keys, aggregate)));
        if (passed != due) fooled = true;
    }

    function _change(bytes memory call) private {
        bool made;
        if (witnesses.quorum() == 0) {
            (made,) = address(witnesses).call(call);
        } else {
            uint256 bitmap = witnesses.active();
            bytes memory message = witnesses.agreementMessage(address(witnesses), call);
            (bytes[] memory keys, bytes memory aggregate) = cosign(bitmap, message);
            bytes memory agreed = abi.encodeCall(witnesses.agree, (address(witnesses), call, bitmap, keys, aggregate));
            (made,) = address(witnesses).call(agreed);
        }
        if (made) ++changes;
    }
}

contract WitnessSetInvariantTest {
    WitnessSetHandler private _handler;

    function setUp() public {
        _handler = new WitnessSetHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// A quorum that was set can always be reached, and every change opened an epoch.
    function invariant_aQuorumIsAlwaysPossibleAndNothingElsePasses() public view {
        WitnessSet set = _handler.set();
        uint256 count;
        for (uint256 bits = set.active(); bits != 0; bits &= bits - 1) {
            ++count;
        }
        require(set.quorum() <= count, "quorum");
        require(set.active() >> set.registered() == 0, "active beyond registered");
        require(set.epoch() == _handler.changes(), "epoch");
        require(!_handler.fooled(), "passed or refused wrongly");
    }
}
