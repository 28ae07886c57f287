// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Members} from "./Members.sol";

/// @title When consents were given and withdrawn
/// @notice Holds salted commitments only: without the salt nobody can tell whose consent one is, or link two.
/// A withdrawal is final; consenting again makes a new commitment.
contract ConsentRegistry is Members {
    /// The commitment was granted before, and may have been revoked since.
    error AlreadyGranted(bytes32 commitment);
    /// The commitment was never granted.
    error UnknownConsent(bytes32 commitment);
    /// The commitment was revoked before.
    error AlreadyRevoked(bytes32 commitment, uint64 revokedAt);
    /// Only the hospital that recorded a consent may revoke it.
    error NotGrantor(bytes32 commitment, address account);

    event ConsentGranted(bytes32 indexed commitment, address indexed grantor);
    event ConsentRevoked(bytes32 indexed commitment, address indexed grantor);

    struct Consent {
        address grantor;
        uint48 grantedAt;
        uint48 revokedAt;
    }

    mapping(bytes32 commitment => Consent) private _consents;

    /// @param initialOwner the consortium's administrator
    constructor(address initialOwner) Members(initialOwner) {}

    /// @notice Records a consent.
    function grant(bytes32 commitment) external onlyMember {
        if (_consents[commitment].grantor != address(0)) revert AlreadyGranted(commitment);
        _consents[commitment] = Consent({grantor: msg.sender, grantedAt: uint48(block.timestamp), revokedAt: 0});
        emit ConsentGranted(commitment, msg.sender);
    }

    /// @notice Records a withdrawal. An expelled hospital may still withdraw what it recorded.
    function revoke(bytes32 commitment) external {
        Consent storage found = _consents[commitment];
        if (found.grantor == address(0)) revert UnknownConsent(commitment);
        if (found.grantor != msg.sender) revert NotGrantor(commitment, msg.sender);
        if (found.revokedAt != 0) revert AlreadyRevoked(commitment, found.revokedAt);
        found.revokedAt = uint48(block.timestamp);
        emit ConsentRevoked(commitment, msg.sender);
    }

    /// @notice Who recorded a consent and when it was given and withdrawn (Unix seconds); all zero if never given.
    function consent(bytes32 commitment) external view returns (address grantor, uint64 grantedAt, uint64 revokedAt) {
        Consent storage found = _consents[commitment];
        return (found.grantor, found.grantedAt, found.revokedAt);
    }

    /// @notice Whether a consent stands now.
    function isGranted(bytes32 commitment) external view returns (bool) {
        Consent storage found = _consents[commitment];
        return found.grantor != address(0) && found.revokedAt == 0;
    }
}
