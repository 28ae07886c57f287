// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {WitnessSet} from "./WitnessSet.sol";

/// @title Alerts of outbreaks that a quorum of hospitals stands behind
/// @notice An alert says that on a day the sum of the hospitals' differentially private counts of a syndrome lay above
/// a threshold. A quorum signs it; who sends it does not matter. A quorum also says when it is over. No hospital's own
/// count stands here, and no patient's anything: the sum was private before anybody saw it.
/// @dev Statements name the epoch of the set, so none is gathered from an older one, and each day of a syndrome is
/// alerted once.
contract OutbreakAlert {
    /// The witness set is not a contract.
    error NotAContract(address account);
    /// An alert names a syndrome and the terms its counts were made under.
    error NothingStated();
    /// What was counted does not lie above the threshold.
    error NoExcess(int64 counted, int64 thresholdMilli);
    /// An alert is of one of the last `MAX_AGE_DAYS` days, or of today.
    error DayNotNear(uint32 today, uint32 day);
    /// The day of this syndrome was alerted before.
    error AlreadyRaised(bytes32 syndrome, uint32 day, uint256 alert);
    /// No alert has this number.
    error UnknownAlert(uint256 alert);
    /// The alert is over already.
    error AlreadyOver(uint256 alert);

    event AlertRaised(
        uint256 indexed alert,
        bytes32 indexed syndrome,
        uint32 indexed day,
        int64 counted,
        int64 expectedMilli,
        int64 thresholdMilli,
        bytes32 terms,
        uint64 epoch,
        uint256 bitmap
    );
    event AlertEnded(uint256 indexed alert, uint64 epoch, uint256 bitmap);

    /// What a quorum signs. `day` counts from 1970-01-01 UTC; `terms` is the hash of how it was counted and detected.
    struct Statement {
        bytes32 syndrome;
        bytes32 terms;
        uint32 day;
        int64 counted;
        int64 expectedMilli;
        int64 thresholdMilli;
    }

    struct Alert {
        Statement said;
        uint64 raisedAt;
        uint64 endedAt;
    }

    /// Begins every message that is signed here, so that it can't be taken for one of another purpose.
    bytes32 public constant DOMAIN = "twinward/outbreak/v1";
    /// How old the day of an alert may be.
    uint32 public constant MAX_AGE_DAYS = 14;

    /// The hospitals, a quorum of whom signs.
    WitnessSet public immutable witnesses;
    /// How many alerts were ever raised; the newest one's number.
    uint256 public alerts;

    /// The alert of a syndrome's day; zero for none.
    mapping(bytes32 syndrome => mapping(uint32 day => uint256)) public alertOf;

    mapping(uint256 alert => Alert) private _alerts;

    /// @param witnesses_ the hospitals
    constructor(WitnessSet witnesses_) {
        if (address(witnesses_).code.length == 0) revert NotAContract(address(witnesses_));
        witnesses = witnesses_;
    }

    /// @notice Raises an alert.
    /// @param said what the quorum signed
    /// @param bitmap the witnesses that signed `raiseMessage`
    /// @param keys their keys by ascending place, 128 bytes each
    /// @param aggregate the sum of their signatures, 256 bytes
    /// @return alert its number, from 1
    // Days are counted here: seconds that a block's maker may choose do not matter.
    // slither-disable-next-line timestamp
    function raise(Statement calldata said, uint256 bitmap, bytes[] calldata keys, bytes calldata aggregate)
        external
        returns (uint256 alert)
    {
        if (said.syndrome == 0 || said.terms == 0) revert NothingStated();
        if (int256(said.counted) * 1000 <= said.thresholdMilli) revert NoExcess(said.counted, said.thresholdMilli);
        uint32 today = uint32(block.timestamp / 1 days);
        if (said.day > today || said.day + MAX_AGE_DAYS < today) revert DayNotNear(today, said.day);
        uint256 before = alertOf[said.syndrome][said.day];
        if (before != 0) revert AlreadyRaised(said.syndrome, said.day, before);
        uint64 epoch = witnesses.epoch();
        witnesses.requireQuorum(_raiseMessage(epoch, said), bitmap, keys, aggregate);
        alert = ++alerts;
        alertOf[said.syndrome][said.day] = alert;
        _alerts[alert] = Alert(said, uint64(block.timestamp), 0);
        emit AlertRaised(
            alert,
            said.syndrome,
            said.day,
            said.counted,
            said.expectedMilli,
            said.thresholdMilli,
            said.terms,
            epoch,
            bitmap
        );
    }

    /// @notice Says that an alert is over, as a quorum signed (`endMessage`).
    function end(uint256 alert, uint256 bitmap, bytes[] calldata keys, bytes calldata aggregate) external {
        Alert storage found = _raised(alert);
        if (found.endedAt != 0) revert AlreadyOver(alert);
        uint64 epoch = witnesses.epoch();
        witnesses.requireQuorum(_endMessage(epoch, alert), bitmap, keys, aggregate);
        found.endedAt = uint64(block.timestamp);
        emit AlertEnded(alert, epoch, bitmap);
    }

    /// @notice One alert.
    function alertAt(uint256 alert) external view returns (Alert memory) {
        return _raised(alert);
    }

    /// @notice What a quorum signs now to raise an alert: 11 words of 32 bytes.
    function raiseMessage(Statement calldata said) external view returns (bytes memory) {
        return _raiseMessage(witnesses.epoch(), said);
    }

    /// @notice What a quorum signs now to end one: 6 words of 32 bytes.
    function endMessage(uint256 alert) external view returns (bytes memory) {
        return _endMessage(witnesses.epoch(), alert);
    }

    function _raiseMessage(uint64 epoch, Statement calldata said) private view returns (bytes memory) {
        return abi.encode(
            DOMAIN,
            block.chainid,
            address(this),
            bytes32("raise"),
            epoch,
            said.syndrome,
            said.terms,
            said.day,
            said.counted,
            said.expectedMilli,
            said.thresholdMilli
        );
    }

    function _endMessage(uint64 epoch, uint256 alert) private view returns (bytes memory) {
        return abi.encode(DOMAIN, block.chainid, address(this), bytes32("end"), epoch, alert);
    }

    function _raised(uint256 alert) private view returns (Alert storage found) {
        found = _alerts[alert];
        if (found.raisedAt == 0) revert UnknownAlert(alert);
    }
}
