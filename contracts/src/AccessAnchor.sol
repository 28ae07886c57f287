// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Rfc6962} from "./Rfc6962.sol";
import {WitnessSet} from "./WitnessSet.sol";

/// @title Where hospitals' access logs are anchored
/// @notice A checkpoint is accepted only if it extends the last one accepted of its log (RFC 6962 consistency, checked
/// here) and a quorum of hospitals signed it for this chain, this contract, this log and this epoch. Who sends the
/// transaction does not matter.
contract AccessAnchor {
    /// The witness set is not a contract.
    error NotAContract(address account);
    /// The checkpoint does not hold more leaves than the anchored one: stale, replayed or a rollback.
    error NotAppended(uint64 anchored, uint64 offered);
    /// The checkpoint is older than the anchored one.
    error TimeWentBack(uint64 anchored, uint64 offered);
    /// The checkpoint's time lies too far ahead of the chain's.
    error TimeAhead(uint64 chainTime, uint64 offered);
    /// A log's first checkpoint extends nothing, so it has no consistency proof.
    error UnexpectedProof(uint256 nodes);

    event Anchored(bytes32 indexed logId, uint64 indexed size, bytes32 root, uint64 time, uint64 epoch, uint256 bitmap);

    struct Head {
        bytes32 root;
        uint64 size;
        uint64 time;
        uint64 epoch;
    }

    /// Begins every co-signed message, so that it can't be taken for one of another purpose.
    bytes32 public constant DOMAIN = "twinward/access-anchor/v1";
    /// How far a checkpoint's time may run ahead of the chain's, in seconds.
    uint64 public constant MAX_AHEAD_SECONDS = 15 minutes;

    /// The hospitals that co-sign.
    WitnessSet public immutable witnesses;

    mapping(bytes32 logId => Head) private _heads;

    /// @param witnesses_ the set that co-signs; it probes the chain's precompiles when it is deployed
    constructor(WitnessSet witnesses_) {
        if (address(witnesses_).code.length == 0) revert NotAContract(address(witnesses_));
        witnesses = witnesses_;
    }

    /// @notice Anchors a checkpoint.
    /// @param logId the log
    /// @param size its leaves
    /// @param root its RFC 6962 root
    /// @param time when it was signed, Unix seconds
    /// @param consistency the proof from the anchored size to this one; empty for a log's first checkpoint
    /// @param bitmap the witnesses that signed
    /// @param pubkeys their keys by ascending place, 128 bytes each
    /// @param aggregate their signatures' sum over `cosignedMessage`, 256 bytes
    function anchor(
        bytes32 logId,
        uint64 size,
        bytes32 root,
        uint64 time,
        bytes32[] calldata consistency,
        uint256 bitmap,
        bytes[] calldata pubkeys,
        bytes calldata aggregate
    ) external {
        _requireExtension(_heads[logId], size, root, time, consistency);
        uint64 epoch = witnesses.epoch();
        witnesses.requireQuorum(_message(logId, epoch, size, root, time), bitmap, pubkeys, aggregate);
        _heads[logId] = Head({root: root, size: size, time: time, epoch: epoch});
        emit Anchored(logId, size, root, time, epoch, bitmap);
    }

    /// @notice The last checkpoint anchored of a log; all zero for a log never anchored.
    function latest(bytes32 logId) external view returns (bytes32 root, uint64 size, uint64 time, uint64 epoch) {
        Head storage head = _heads[logId];
        return (head.root, head.size, head.time, head.epoch);
    }

    /// @notice What witnesses sign now: 8 words of 32 bytes.
    function cosignedMessage(bytes32 logId, uint64 size, bytes32 root, uint64 time)
        external
        view
        returns (bytes memory)
    {
        return _message(logId, witnesses.epoch(), size, root, time);
    }

    // A block's maker may shift its time by seconds; the bound it is held against is a quarter of an hour.
    // slither-disable-next-line timestamp
    function _requireExtension(
        Head storage head,
        uint64 size,
        bytes32 root,
        uint64 time,
        bytes32[] calldata consistency
    ) private view {
        (uint64 anchoredSize, uint64 anchoredTime) = (head.size, head.time);
        if (size <= anchoredSize) revert NotAppended(anchoredSize, size);
        if (time < anchoredTime) revert TimeWentBack(anchoredTime, time);
        if (time > block.timestamp + MAX_AHEAD_SECONDS) revert TimeAhead(uint64(block.timestamp), time);
        if (anchoredSize != 0) {
            Rfc6962.requireConsistent(anchoredSize, size, head.root, root, consistency);
        } else if (consistency.length != 0) {
            revert UnexpectedProof(consistency.length);
        }
    }

    function _message(bytes32 logId, uint64 epoch, uint64 size, bytes32 root, uint64 time)
        private
        view
        returns (bytes memory)
    {
        return abi.encode(DOMAIN, block.chainid, address(this), logId, epoch, size, root, time);
    }
}
