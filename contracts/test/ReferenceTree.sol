// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// RFC 6962, section 2.1, word for word and slow: the oracle for Rfc6962.sol.
library ReferenceTree {
    /// n leaf hashes that depend on a seed.
    function leaves(bytes32 seed, uint256 n) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            hashes[i] = sha256(abi.encodePacked(bytes1(0x00), seed, i));
        }
    }

    /// MTH(D[start:stop])
    function root(bytes32[] memory d, uint256 start, uint256 stop) internal pure returns (bytes32) {
        if (stop - start == 1) return d[start];
        uint256 k = split(stop - start);
        return sha256(abi.encodePacked(bytes1(0x01), root(d, start, start + k), root(d, start + k, stop)));
    }

    /// PROOF(m, D[0:n])
    function proof(bytes32[] memory d, uint256 m, uint256 n) internal pure returns (bytes32[] memory) {
        return _subproof(d, m, 0, n, true);
    }

    function _subproof(bytes32[] memory d, uint256 m, uint256 start, uint256 stop, bool complete)
        private
        pure
        returns (bytes32[] memory)
    {
        uint256 n = stop - start;
        if (m == n) return complete ? new bytes32[](0) : _append(new bytes32[](0), root(d, start, stop));
        uint256 k = split(n);
        if (m <= k) return _append(_subproof(d, m, start, start + k, complete), root(d, start + k, stop));
        return _append(_subproof(d, m - k, start + k, stop, false), root(d, start, start + k));
    }

    /// The largest power of two below n.
    function split(uint256 n) internal pure returns (uint256 k) {
        for (k = 1; k * 2 < n; k *= 2) {}
    }

    function _append(bytes32[] memory list, bytes32 item) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = item;
    }
}
