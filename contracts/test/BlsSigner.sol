// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Bls12381} from "../src/Bls12381.sol";

/// Signs on chain by scalar multiplication precompiles, so that tests can fuzz over keys and messages.
/// Never for real keys: everything on a chain is public.
library BlsSigner {
    address private constant G1_MSM = address(0x0c);
    address private constant G2_ADD = address(0x0d);
    address private constant G2_MSM = address(0x0e);
    bytes private constant G1 =
        hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1";

    function publicKey(uint256 secret) internal view returns (bytes memory) {
        return _call(G1_MSM, abi.encodePacked(G1, secret));
    }

    function sign(uint256 secret, bytes memory message) internal view returns (bytes memory) {
        return _call(G2_MSM, abi.encodePacked(Bls12381.hashToG2(message, Bls12381.SIGNATURE_DST), secret));
    }

    function provePossession(uint256 secret) internal view returns (bytes memory) {
        bytes memory key = Bls12381.compressG1(publicKey(secret));
        return _call(G2_MSM, abi.encodePacked(Bls12381.hashToG2(key, Bls12381.POSSESSION_DST), secret));
    }

    function add(bytes memory a, bytes memory b) internal view returns (bytes memory) {
        return _call(G2_ADD, bytes.concat(a, b));
    }

    function _call(address precompile, bytes memory input) private view returns (bytes memory output) {
        bool ok;
        (ok, output) = precompile.staticcall(input);
        require(ok && output.length != 0, "precompile");
    }
}
