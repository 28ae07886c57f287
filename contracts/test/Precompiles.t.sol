// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Bls12381} from "../src/Bls12381.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {Cheats} from "./Cheats.sol";

/// A chain whose precompiles are missing, cut short, too talkative or lying: nothing can be deployed on it.
contract PrecompilesTest is Cheats {
    address private constant MODEXP = address(0x05);
    address private constant G1_ADD = address(0x0b);
    address private constant G2_ADD = address(0x0d);
    address private constant PAIRING_CHECK = address(0x0f);
    address private constant MAP_FP2_TO_G2 = address(0x11);

    /// Before Prague a call to one of these addresses succeeds with no data.
    function test_oneThatIsMissingIsNoticedAtDeployment() public {
        address[5] memory all = [MODEXP, G1_ADD, G2_ADD, PAIRING_CHECK, MAP_FP2_TO_G2];
        for (uint256 i = 0; i < all.length; ++i) {
            _refused(all[i], "");
        }
    }

    /// One byte less or more than the length that each must give.
    function test_anAnswerOfAnotherLengthIsNoticedAtDeployment() public {
        address[5] memory all = [MODEXP, G1_ADD, G2_ADD, PAIRING_CHECK, MAP_FP2_TO_G2];
        uint16[5] memory lengths = [64, 128, 256, 32, 256];
        for (uint256 i = 0; i < all.length; ++i) {
            _refused(all[i], new bytes(lengths[i] - 1));
            _refused(all[i], new bytes(lengths[i] + 1));
        }
    }

    /// A pairing that says yes to everything, or to nothing.
    function test_aPairingThatLiesIsNoticedAtDeployment() public {
        for (uint256 said = 0; said < 3; ++said) {
            vm.mockCall(PAIRING_CHECK, "", abi.encode(said));
            vm.expectRevert(Bls12381.PrecompilesUnusable.selector);
            new WitnessSet(address(this), 1 days);
            vm.clearMockedCalls();
        }
    }

    /// An addition that gives back what is no sum.
    function test_anAdditionThatLiesIsNoticedAtDeployment() public {
        vm.mockCall(G1_ADD, "", abi.encode(uint256(1), uint256(2), uint256(3), uint256(4)));
        vm.expectRevert(Bls12381.PrecompilesUnusable.selector);
        new WitnessSet(address(this), 1 days);
    }

    function _refused(address precompile, bytes memory answer) private {
        vm.mockCall(precompile, "", answer);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.PrecompileFailed.selector, precompile, answer.length));
        new WitnessSet(address(this), 1 days);
        vm.clearMockedCalls();
    }
}
