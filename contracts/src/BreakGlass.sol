// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Members} from "./Members.sol";
import {WitnessSet} from "./WitnessSet.sol";

/// @title Emergency accesses, each to be reviewed by a deadline
/// @notice Holds salted commitments to the access event only. A late review is recorded as late: nothing hides that
/// a deadline passed.
contract BreakGlass is Members {
    /// A review needs some time.
    error ZeroReviewPeriod();
    /// This emergency was declared before.
    error AlreadyDeclared(bytes32 commitment);
    /// This emergency was never declared.
    error UnknownDeclaration(bytes32 commitment);
    /// This emergency was reviewed before.
    error AlreadyReviewed(bytes32 commitment);
    /// Only the hospital that declared an emergency reviews it.
    error NotDeclarant(bytes32 commitment, address account);

    event GlassBroken(bytes32 indexed commitment, address indexed declarant, uint64 deadline);
    event GlassReviewed(bytes32 indexed commitment, bool justified, bytes32 reportHash, bool late);

    struct Declaration {
        address declarant;
        uint48 deadline;
        uint48 reviewedAt;
        bool justified;
        bytes32 reportHash;
    }

    /// How long a review may take.
    uint64 public immutable reviewSeconds;

    mapping(bytes32 commitment => Declaration) private _declarations;
    /// What is not reviewed, in no particular order, and each one's place in it plus one.
    bytes32[] private _open;
    mapping(bytes32 commitment => uint256) private _places;

    /// @param witnesses_ the hospitals, whose agreement counts
    /// @param firstMember admitted from the start
    /// @param reviewSeconds_ how long a review may take
    constructor(WitnessSet witnesses_, address firstMember, uint64 reviewSeconds_) Members(witnesses_, firstMember) {
        if (reviewSeconds_ == 0 || reviewSeconds_ > 3650 days) revert ZeroReviewPeriod();
        reviewSeconds = reviewSeconds_;
    }

    /// @notice Declares an emergency access. Its deadline starts to run.
    function declare(bytes32 commitment) external onlyMember {
        if (_declarations[commitment].declarant != address(0)) revert AlreadyDeclared(commitment);
        uint64 deadline = uint64(block.timestamp) + reviewSeconds;
        _declarations[commitment] = Declaration(msg.sender, uint48(deadline), 0, false, 0);
        _open.push(commitment);
        _places[commitment] = _open.length;
        emit GlassBroken(commitment, msg.sender, deadline);
    }

    /// @notice Records what the review found. Possible after the deadline too, and then marked late.
    /// @param commitment the emergency
    /// @param justified whether the access was warranted
    /// @param reportHash SHA-256 of the report, which stays at the hospital
    // Deadlines are days; what a block's maker can shift are seconds.
    // slither-disable-next-line timestamp
    function review(bytes32 commitment, bool justified, bytes32 reportHash) external {
        Declaration storage found = _declarations[commitment];
        if (found.declarant == address(0)) revert UnknownDeclaration(commitment);
        if (found.declarant != msg.sender) revert NotDeclarant(commitment, msg.sender);
        if (found.reviewedAt != 0) revert AlreadyReviewed(commitment);
        (found.reviewedAt, found.justified, found.reportHash) = (uint48(block.timestamp), justified, reportHash);
        _close(commitment);
        emit GlassReviewed(commitment, justified, reportHash, block.timestamp > found.deadline);
    }

    /// @notice One emergency; all zero if never declared.
    function declaration(bytes32 commitment)
        external
        view
        returns (address declarant, uint64 deadline, uint64 reviewedAt, bool justified, bytes32 reportHash)
    {
        Declaration storage found = _declarations[commitment];
        return (found.declarant, found.deadline, found.reviewedAt, found.justified, found.reportHash);
    }

    /// @notice How many emergencies wait for their review.
    function openCount() external view returns (uint256) {
        return _open.length;
    }

    /// @notice Those of `limit` open emergencies from `start` on whose deadline has passed.
    // As in `review`. The assembly shortens the list to what was found, which Solidity has no word for.
    // slither-disable-next-line timestamp,assembly
    function overdue(uint256 start, uint256 limit) external view returns (bytes32[] memory commitments) {
        uint256 stop = start + limit < _open.length ? start + limit : _open.length;
        commitments = new bytes32[](stop > start ? stop - start : 0);
        uint256 found = 0;
        for (uint256 i = start; i < stop; ++i) {
            if (block.timestamp > _declarations[_open[i]].deadline) commitments[found++] = _open[i];
        }
        assembly ("memory-safe") {
            mstore(commitments, found)
        }
    }

    /// Takes a commitment out of the open ones by moving the last one to its place.
    function _close(bytes32 commitment) private {
        uint256 place = _places[commitment];
        bytes32 last = _open[_open.length - 1];
        _open[place - 1] = last;
        _places[last] = place;
        _open.pop();
        delete _places[commitment];
    }
}
