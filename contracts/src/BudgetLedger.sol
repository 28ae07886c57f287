// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Members} from "./Members.sol";

/// @title What vendors may still ask and what studies may still learn
/// @notice Two budgets, both refused at their cap. A vendor has a number of queries an epoch. A study spends privacy:
/// the sum of 1/sigma^2 in millionths for every (hospital, cohort) it trains on, over all runs and for ever.
/// @dev Requests carry an id of the caller's choice and are accepted once, so one that is sent again after a lost
/// answer can't be charged twice.
contract BudgetLedger is Members {
    /// An epoch must last at least a second.
    error ZeroEpoch();
    /// There is nothing to spend or reserve.
    error ZeroAmount();
    /// Queries are spent from the running epoch only.
    error WrongEpoch(uint64 current, uint64 asked);
    /// The vendor's allowance for this epoch does not reach.
    error QueryBudgetExceeded(bytes32 vendor, uint64 remaining, uint64 asked);
    /// The privacy budget of this hospital's cohort does not reach.
    error PrivacyBudgetExceeded(bytes32 hospital, bytes32 cohort, uint64 remainingMicros, uint64 askedMicros);
    /// A request with this id was accepted before.
    error RequestReplayed(bytes32 request);
    /// A reservation names at least one and at most 256 hospitals, ascending and each once.
    error MalformedHospitals();
    /// There is no such reservation, or it is settled.
    error NotReserved(uint256 reservation);
    /// Only who reserved may settle.
    error NotHolder(uint256 reservation, address account);

    event QueriesGranted(bytes32 indexed vendor, uint64 perEpoch);
    event QueriesSpent(bytes32 indexed vendor, uint64 indexed epoch, uint64 amount, uint64 remaining, bytes32 request);
    event PrivacyCapped(bytes32 indexed hospital, bytes32 indexed cohort, uint64 capMicros);
    event PrivacyReserved(
        uint256 indexed reservation, bytes32 indexed study, bytes32 cohort, bytes32[] hospitals, uint64 micros
    );
    event PrivacyCommitted(uint256 indexed reservation, bytes32 indexed study);
    event PrivacyBurned(uint256 indexed reservation, bytes32 indexed study);

    uint256 private constant MAX_HOSPITALS = 256;

    struct Account {
        uint64 capMicros;
        uint64 reservedMicros;
        uint64 spentMicros;
    }

    enum State {
        None,
        Reserved,
        Committed,
        Burned
    }

    struct Reservation {
        bytes32 study;
        bytes32 cohort;
        address holder;
        uint64 micros;
        State state;
        bytes32[] hospitals;
    }

    /// How long an epoch of query budgets lasts.
    uint64 public immutable epochSeconds;
    /// How many reservations were ever made; the newest one's number.
    uint256 public reservations;

    /// Queries a vendor may spend an epoch.
    mapping(bytes32 vendor => uint64) public queriesPerEpoch;
    /// Reservation made by a request; zero for none.
    mapping(bytes32 request => uint256) public reservationOf;

    mapping(bytes32 vendor => mapping(uint64 epoch => uint64)) private _spent;
    mapping(bytes32 request => bool) private _seen;
    mapping(bytes32 hospital => mapping(bytes32 cohort => Account)) private _accounts;
    mapping(uint256 reservation => Reservation) private _reservations;

    /// @param initialOwner the consortium's administrator
    /// @param epochSeconds_ how long an epoch of query budgets lasts
    constructor(address initialOwner, uint64 epochSeconds_) Members(initialOwner) {
        if (epochSeconds_ == 0) revert ZeroEpoch();
        epochSeconds = epochSeconds_;
    }

    /// @notice Sets how many queries a vendor may spend an epoch, the running one included.
    function grantQueries(bytes32 vendor, uint64 perEpoch) external onlyOwner {
        queriesPerEpoch[vendor] = perEpoch;
        emit QueriesGranted(vendor, perEpoch);
    }

    /// @notice Spends queries before they are answered.
    // Epochs are hours or days; what a block's maker can shift are seconds.
    // slither-disable-next-line timestamp
    function spendQueries(bytes32 vendor, uint64 epoch, uint64 amount, bytes32 request) external onlyMember {
        if (amount == 0) revert ZeroAmount();
        if (epoch != currentEpoch()) revert WrongEpoch(currentEpoch(), epoch);
        _once(request);
        uint64 left = remainingQueries(vendor, epoch);
        if (amount > left) revert QueryBudgetExceeded(vendor, left, amount);
        _spent[vendor][epoch] += amount;
        emit QueriesSpent(vendor, epoch, amount, left - amount, request);
    }

    /// @notice Caps what all studies together may learn about a hospital's cohort.
    /// @dev A cap below what is spent undoes nothing; it refuses everything further.
    function capPrivacy(bytes32 hospital, bytes32 cohort, uint64 capMicros) external onlyOwner {
        _accounts[hospital][cohort].capMicros = capMicros;
        emit PrivacyCapped(hospital, cohort, capMicros);
    }

    /// @notice Reserves privacy of every hospital of a study, or of none, before anything leaves one of them.
    /// @return reservation its number, from 1
    function reserve(bytes32 request, bytes32 study, bytes32 cohort, bytes32[] calldata hospitals, uint64 micros)
        external
        onlyMember
        returns (uint256 reservation)
    {
        if (micros == 0) revert ZeroAmount();
        if (hospitals.length == 0 || hospitals.length > MAX_HOSPITALS) revert MalformedHospitals();
        _once(request);
        for (uint256 i = 0; i < hospitals.length; ++i) {
            if (i != 0 && hospitals[i] <= hospitals[i - 1]) revert MalformedHospitals();
            uint64 left = remainingPrivacy(hospitals[i], cohort);
            if (micros > left) revert PrivacyBudgetExceeded(hospitals[i], cohort, left, micros);
            _accounts[hospitals[i]][cohort].reservedMicros += micros;
        }
        reservation = ++reservations;
        _reservations[reservation] = Reservation(study, cohort, msg.sender, micros, State.Reserved, hospitals);
        reservationOf[request] = reservation;
        emit PrivacyReserved(reservation, study, cohort, hospitals, micros);
    }

    /// @notice Settles a reservation whose result was released.
    function commit(uint256 reservation) external {
        emit PrivacyCommitted(reservation, _settle(reservation, State.Committed));
    }

    /// @notice Settles a reservation whose run failed. It is charged all the same: something may have left.
    function burn(uint256 reservation) external {
        emit PrivacyBurned(reservation, _settle(reservation, State.Burned));
    }

    /// @notice What a hospital's cohort has: cap, reserved and spent, in millionths of 1/sigma^2.
    function privacy(bytes32 hospital, bytes32 cohort)
        external
        view
        returns (uint64 capMicros, uint64 reservedMicros, uint64 spentMicros)
    {
        Account storage account = _accounts[hospital][cohort];
        return (account.capMicros, account.reservedMicros, account.spentMicros);
    }

    /// @notice One reservation.
    function reservationAt(uint256 reservation)
        external
        view
        returns (bytes32 study, bytes32 cohort, address holder, uint64 micros, State state, bytes32[] memory hospitals)
    {
        Reservation storage found = _reservations[reservation];
        return (found.study, found.cohort, found.holder, found.micros, found.state, found.hospitals);
    }

    /// @notice The running epoch.
    function currentEpoch() public view returns (uint64) {
        return uint64(block.timestamp) / epochSeconds;
    }

    /// @notice Queries a vendor has left in an epoch.
    function remainingQueries(bytes32 vendor, uint64 epoch) public view returns (uint64) {
        (uint64 cap, uint64 spent) = (queriesPerEpoch[vendor], _spent[vendor][epoch]);
        return spent < cap ? cap - spent : 0;
    }

    /// @notice Millionths of 1/sigma^2 that a hospital's cohort has left, reservations taken off.
    function remainingPrivacy(bytes32 hospital, bytes32 cohort) public view returns (uint64) {
        Account storage account = _accounts[hospital][cohort];
        uint64 used = account.reservedMicros + account.spentMicros;
        return used < account.capMicros ? account.capMicros - used : 0;
    }

    function _once(bytes32 request) private {
        if (_seen[request]) revert RequestReplayed(request);
        _seen[request] = true;
    }

    function _settle(uint256 reservation, State state) private returns (bytes32 study) {
        Reservation storage found = _reservations[reservation];
        if (found.state != State.Reserved) revert NotReserved(reservation);
        if (found.holder != msg.sender) revert NotHolder(reservation, msg.sender);
        found.state = state;
        study = found.study;
        for (uint256 i = 0; i < found.hospitals.length; ++i) {
            Account storage account = _accounts[found.hospitals[i]][found.cohort];
            account.reservedMicros -= found.micros;
            account.spentMicros += found.micros;
        }
    }
}
