// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Members} from "./Members.sol";
import {WitnessSet} from "./WitnessSet.sol";

/// @title What vendors may still ask and what studies may still learn
/// @notice Two budgets, both refused at their cap. A vendor has a number of queries an epoch, by the consortium's
/// agreement. A study spends privacy: the sum of 1/sigma^2 in millionths for every (hospital, cohort) it trains on, over
/// all runs and for ever. A hospital's privacy is capped, reserved and settled by that hospital's own signature, whoever
/// sends it; raising a cap needs the consortium's agreement too.
/// @dev Requests carry an id of the caller's choice and are accepted once, so one that is sent again after a lost
/// answer can't be charged twice. Those of queries and of reservations are apart: a study's reservation has its
/// protocol's fingerprint for one, which a member that spends a query must not be able to use up.
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
    /// What is carried over from an earlier contract is written once, into what is still empty.
    error CarriedAlready();

    event QueriesGranted(bytes32 indexed vendor, uint64 perEpoch);
    event QueriesSpent(bytes32 indexed vendor, uint64 indexed epoch, uint64 amount, uint64 remaining, bytes32 request);
    event PrivacyCapped(bytes32 indexed hospital, bytes32 indexed cohort, uint64 capMicros);
    event PrivacyReserved(
        uint256 indexed reservation, bytes32 indexed study, bytes32 cohort, bytes32[] hospitals, uint64 micros
    );
    event QueriesCarried(bytes32 indexed vendor, uint64 indexed epoch, uint64 spent);
    event PrivacyCarried(bytes32 indexed hospital, bytes32 indexed cohort, uint64 capMicros, uint64 spentMicros);
    event PrivacyCommitted(uint256 indexed reservation, bytes32 indexed study);
    event PrivacyBurned(uint256 indexed reservation, bytes32 indexed study);

    /// Begins every message that a hospital signs here, so that it can't be taken for one of another purpose.
    bytes32 public constant DOMAIN = "twinward/budget/v1";

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
    /// How often a hospital set a cap; its next signature for one names this number.
    mapping(bytes32 hospital => uint256) public capsSet;
    /// Reservation made by a request; zero for none.
    mapping(bytes32 request => uint256) public reservationOf;

    mapping(bytes32 vendor => mapping(uint64 epoch => uint64)) private _spent;
    mapping(bytes32 request => bool) private _seen;
    mapping(bytes32 hospital => mapping(bytes32 cohort => Account)) private _accounts;
    mapping(uint256 reservation => Reservation) private _reservations;

    /// @param witnesses_ the hospitals, whose agreement and signatures count
    /// @param firstMember admitted from the start
    /// @param epochSeconds_ how long an epoch of query budgets lasts
    constructor(WitnessSet witnesses_, address firstMember, uint64 epochSeconds_) Members(witnesses_, firstMember) {
        if (epochSeconds_ == 0) revert ZeroEpoch();
        epochSeconds = epochSeconds_;
    }

    /// @notice Sets how many queries a vendor may spend an epoch, the running one included.
    function grantQueries(bytes32 vendor, uint64 perEpoch) external onlyAgreed {
        queriesPerEpoch[vendor] = perEpoch;
        emit QueriesGranted(vendor, perEpoch);
    }

    /// @notice Spends queries before they are answered.
    // Epochs are hours or days; what a block's maker can shift are seconds.
    // slither-disable-next-line timestamp
    function spendQueries(bytes32 vendor, uint64 epoch, uint64 amount, bytes32 request) external onlyMember {
        if (amount == 0) revert ZeroAmount();
        if (epoch != currentEpoch()) revert WrongEpoch(currentEpoch(), epoch);
        if (_seen[request]) revert RequestReplayed(request);
        _seen[request] = true;
        uint64 left = remainingQueries(vendor, epoch);
        if (amount > left) revert QueryBudgetExceeded(vendor, left, amount);
        _spent[vendor][epoch] += amount;
        emit QueriesSpent(vendor, epoch, amount, left - amount, request);
    }

    /// @notice Caps what all studies together may learn about a hospital's cohort: the hospital signs, and raising the
    /// cap is agreed on besides.
    /// @dev A cap below what is spent undoes nothing; it refuses everything further.
    /// @param key the hospital's, 128 bytes
    /// @param signature its own over `capMessage`, 256 bytes
    function capPrivacy(
        bytes32 hospital,
        bytes32 cohort,
        uint64 capMicros,
        bytes calldata key,
        bytes calldata signature
    ) external {
        Account storage account = _accounts[hospital][cohort];
        if (capMicros > account.capMicros) witnesses.requireAgreed(msg.sender);
        bytes32[] memory hospitals = new bytes32[](1);
        bytes[] memory keys = new bytes[](1);
        (hospitals[0], keys[0]) = (hospital, key);
        witnesses.requireSignedBy(hospitals, capMessage(hospital, cohort, capMicros), keys, signature);
        ++capsSet[hospital];
        account.capMicros = capMicros;
        emit PrivacyCapped(hospital, cohort, capMicros);
    }

    /// @notice Reserves privacy of every hospital of a study, or of none, before anything leaves one of them.
    /// @param request an id that was never used
    /// @param hospitals ascending, each once
    /// @param micros what each of them is charged
    /// @param keys the hospitals' in the same order, 128 bytes each
    /// @param aggregate the sum of their signatures over `reserveMessage`, 256 bytes
    /// @return reservation its number, from 1
    function reserve(
        bytes32 request,
        bytes32 study,
        bytes32 cohort,
        bytes32[] calldata hospitals,
        uint64 micros,
        bytes[] calldata keys,
        bytes calldata aggregate
    ) external onlyMember returns (uint256 reservation) {
        if (micros == 0) revert ZeroAmount();
        if (hospitals.length == 0 || hospitals.length > MAX_HOSPITALS) revert MalformedHospitals();
        if (reservationOf[request] != 0) revert RequestReplayed(request);
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
        bytes memory message = reserveMessage(request, study, cohort, hospitals, micros, msg.sender);
        witnesses.requireSignedBy(hospitals, message, keys, aggregate);
    }

    /// @notice Settles a reservation whose result was released.
    /// @param keys of its hospitals in its order, 128 bytes each
    /// @param aggregate the sum of their signatures over `settleMessage`, 256 bytes
    function commit(uint256 reservation, bytes[] calldata keys, bytes calldata aggregate) external {
        emit PrivacyCommitted(reservation, _settle(reservation, State.Committed, keys, aggregate));
    }

    /// @notice Settles a reservation whose run failed. It is charged all the same: something may have left.
    /// @param keys of its hospitals in its order, 128 bytes each
    /// @param aggregate the sum of their signatures over `settleMessage`, 256 bytes
    function burn(uint256 reservation, bytes[] calldata keys, bytes calldata aggregate) external {
        emit PrivacyBurned(reservation, _settle(reservation, State.Burned, keys, aggregate));
    }

    /// @notice While a consortium is founded: takes over what a hospital's cohort had in an earlier contract.
    function carryPrivacy(bytes32 hospital, bytes32 cohort, uint64 capMicros, uint64 spentMicros) external {
        witnesses.requireFounding(msg.sender);
        Account storage account = _accounts[hospital][cohort];
        if (account.capMicros != 0 || account.spentMicros != 0) revert CarriedAlready();
        (account.capMicros, account.spentMicros) = (capMicros, spentMicros);
        emit PrivacyCarried(hospital, cohort, capMicros, spentMicros);
    }

    /// @notice While a consortium is founded: takes over what a vendor spent of one epoch in an earlier contract.
    function carryQueries(bytes32 vendor, uint64 epoch, uint64 spent) external {
        witnesses.requireFounding(msg.sender);
        if (_spent[vendor][epoch] != 0) revert CarriedAlready();
        _spent[vendor][epoch] = spent;
        emit QueriesCarried(vendor, epoch, spent);
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

    /// @notice What a hospital signs to set a cap now: 8 words of 32 bytes.
    function capMessage(bytes32 hospital, bytes32 cohort, uint64 capMicros) public view returns (bytes memory) {
        return abi.encode(
            DOMAIN, block.chainid, address(this), bytes32("cap"), hospital, cohort, capMicros, capsSet[hospital]
        );
    }

    /// @notice What each hospital signs to have its privacy reserved: 10 words of 32 bytes.
    /// @param holder the account that will send it, and settle it
    function reserveMessage(
        bytes32 request,
        bytes32 study,
        bytes32 cohort,
        bytes32[] calldata hospitals,
        uint64 micros,
        address holder
    ) public view returns (bytes memory) {
        bytes32 named = sha256(abi.encodePacked(hospitals));
        return abi.encode(
            DOMAIN, block.chainid, address(this), bytes32("reserve"), request, study, cohort, named, micros, holder
        );
    }

    /// @notice What each hospital signs to settle a reservation: 5 words of 32 bytes.
    /// @param state what becomes of it: committed or burned
    function settleMessage(uint256 reservation, State state) public view returns (bytes memory) {
        bytes32 purpose = state == State.Committed ? bytes32("commit") : bytes32("burn");
        return abi.encode(DOMAIN, block.chainid, address(this), purpose, reservation);
    }

    function _settle(uint256 reservation, State state, bytes[] calldata keys, bytes calldata aggregate)
        private
        returns (bytes32 study)
    {
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
        witnesses.requireSignedBy(found.hospitals, settleMessage(reservation, state), keys, aggregate);
    }
}
