// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Consistency of append-only Merkle trees, checked on chain
/// @notice SHA-256 trees of RFC 6962; the algorithm is RFC 9162, section 2.1.4.2.
/// @dev Reverts instead of returning a bool that a caller may forget.
library Rfc6962 {
    /// The proof does not show that the tree of `offered` leaves extends the one of `anchored` leaves.
    error InconsistentTree(uint64 anchored, uint64 offered);

    /// The SHA-256 precompile did not answer (out of gas).
    error HashFailed();

    /// @notice Accepts only a proof that the first `size1` leaves of the second tree are the first tree.
    /// @param size1 leaves of the older tree, at least 1
    /// @param size2 leaves of the newer tree, more than `size1`
    /// @param root1 the older root
    /// @param root2 the newer root
    /// @param proof the nodes of PROOF(size1, D[size2]) in RFC 6962's order
    function requireConsistent(uint64 size1, uint64 size2, bytes32 root1, bytes32 root2, bytes32[] calldata proof)
        internal
        view
    {
        if (size1 == 0 || size1 >= size2) revert InconsistentTree(size1, size2);
        uint256 used = 0;
        bytes32 seed = root1;
        // Where size1 is a power of two the older root is a node of the newer tree and is left out of the proof.
        if (size1 & (size1 - 1) != 0) {
            if (proof.length == 0) revert InconsistentTree(size1, size2);
            seed = proof[0];
            used = 1;
        }
        (bytes32 older, bytes32 newer, bool complete) = _climb(size1 - 1, size2 - 1, seed, proof, used);
        if (!complete || older != root1 || newer != root2) revert InconsistentTree(size1, size2);
    }

    /// @notice The hash of an inner node (RFC 6962, section 2.1).
    // Assembly: 65 bytes are hashed without allocating memory for each node of a proof.
    // slither-disable-next-line assembly
    function nodeHash(bytes32 left, bytes32 right) internal view returns (bytes32 digest) {
        bool ok;
        // 65 bytes at the free memory pointer, which is left where it is: nothing else is written meanwhile.
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore8(input, 0x01)
            mstore(add(input, 1), left)
            mstore(add(input, 33), right)
            ok := staticcall(gas(), 0x02, input, 65, 0x00, 32)
            ok := and(ok, eq(returndatasize(), 32))
            digest := mload(0x00)
        }
        if (!ok) revert HashFailed();
    }

    /// Walks from the newest node that both trees share up to both roots at once.
    function _climb(uint64 fn, uint64 sn, bytes32 seed, bytes32[] calldata proof, uint256 used)
        private
        view
        returns (bytes32 older, bytes32 newer, bool complete)
    {
        while (fn & 1 == 1) {
            fn >>= 1;
            sn >>= 1;
        }
        older = seed;
        newer = seed;
        for (uint256 i = used; i < proof.length; ++i) {
            if (sn == 0) return (older, newer, false);
            bytes32 node = proof[i];
            if (fn & 1 == 1 || fn == sn) {
                older = nodeHash(node, older);
                newer = nodeHash(node, newer);
                while (fn & 1 == 0 && fn != 0) {
                    fn >>= 1;
                    sn >>= 1;
                }
            } else {
                newer = nodeHash(newer, node);
            }
            fn >>= 1;
            sn >>= 1;
        }
        complete = sn == 0;
    }
}
