// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BudgetLedger} from "./BudgetLedger.sol";
import {Members} from "./Members.sol";
import {WitnessSet} from "./WitnessSet.sol";

/// @title Trained models and the privacy each of them cost
/// @notice Entries are never changed. Nothing about a hospital's data or metrics stands here. A model is registered
/// under the reservation that paid for it, by whoever reserved, once it is committed: no model stands here as paid for
/// that no hospital was charged for.
contract ModelRegistry is Members {
    /// A model and a card must be named.
    error EmptyHash();
    /// The budget ledger is not one of this consortium.
    error ForeignLedger(address ledger);
    /// Only a committed reservation has paid for a model.
    error NotPaid(uint256 reservation);
    /// Only who reserved may register what it paid for.
    error NotHolder(uint256 reservation, address account);
    /// The reservation paid for another model already.
    error ReservationUsed(uint256 reservation, uint256 number);
    /// This model is registered already.
    error AlreadyRegistered(bytes32 modelHash, uint256 number);
    /// Epsilon must be above zero (a model trained without noise is not registered as free) and delta below one.
    error ImplausiblePrivacy(uint64 epsilonMicros, uint64 deltaE12);
    /// There is no model of this number.
    error UnknownModel(uint256 number);

    event ModelRegistered(
        uint256 indexed number,
        bytes32 indexed study,
        bytes32 indexed modelHash,
        bytes32 cardHash,
        uint64 epsilonMicros,
        uint64 deltaE12,
        address registrar
    );

    uint64 private constant DELTA_ONE_E12 = 1e12;

    struct Model {
        bytes32 study;
        bytes32 modelHash;
        bytes32 cardHash;
        uint64 epsilonMicros;
        uint64 deltaE12;
        uint64 registeredAt;
        address registrar;
    }

    /// Where privacy is paid for.
    BudgetLedger public immutable budgets;
    /// How many models there are; the newest one's number.
    uint256 public count;
    /// A model's number; zero for one not registered.
    mapping(bytes32 modelHash => uint256) public numberOf;
    /// The reservation that paid for a model; zero for one that an earlier contract had registered.
    mapping(uint256 number => uint256) public reservationOf;
    /// The model that a reservation paid for; zero for none.
    mapping(uint256 reservation => uint256) public paidFor;

    mapping(uint256 number => Model) private _models;

    /// @param budgets_ the consortium's budget ledger
    /// @param firstMember admitted from the start
    constructor(BudgetLedger budgets_, address firstMember) Members(_obeyedBy(budgets_), firstMember) {
        budgets = budgets_;
    }

    /// @notice Registers the model that a reservation paid for. Its study is the reservation's.
    /// @param reservation of this account, committed, and of no other model
    /// @param modelHash SHA-256 of its weights
    /// @param cardHash SHA-256 of its card
    /// @param epsilonMicros the epsilon charged, in millionths
    /// @param deltaE12 the delta of that epsilon, times 10^12
    /// @return number its number, from 1
    function register(uint256 reservation, bytes32 modelHash, bytes32 cardHash, uint64 epsilonMicros, uint64 deltaE12)
        external
        onlyMember
        returns (uint256 number)
    {
        if (paidFor[reservation] != 0) revert ReservationUsed(reservation, paidFor[reservation]);
        // Cohort, amount and hospitals are what the hospitals agreed to when they signed the reservation.
        // slither-disable-next-line unused-return
        (bytes32 study,, address holder,, BudgetLedger.State state,) = budgets.reservationAt(reservation);
        if (state != BudgetLedger.State.Committed) revert NotPaid(reservation);
        if (holder != msg.sender) revert NotHolder(reservation, msg.sender);
        number = _enter(study, modelHash, cardHash, epsilonMicros, deltaE12);
        paidFor[reservation] = number;
        reservationOf[number] = reservation;
    }

    /// @notice While a consortium is founded: takes over a model that stood in an earlier contract.
    function carryModel(bytes32 study, bytes32 modelHash, bytes32 cardHash, uint64 epsilonMicros, uint64 deltaE12)
        external
        returns (uint256 number)
    {
        witnesses.requireFounding(msg.sender);
        number = _enter(study, modelHash, cardHash, epsilonMicros, deltaE12);
    }

    /// @notice One model.
    function model(uint256 number) external view returns (Model memory) {
        if (number == 0 || number > count) revert UnknownModel(number);
        return _models[number];
    }

    function _enter(bytes32 study, bytes32 modelHash, bytes32 cardHash, uint64 epsilonMicros, uint64 deltaE12)
        private
        returns (uint256 number)
    {
        if (modelHash == 0 || cardHash == 0) revert EmptyHash();
        if (numberOf[modelHash] != 0) revert AlreadyRegistered(modelHash, numberOf[modelHash]);
        if (epsilonMicros == 0 || deltaE12 >= DELTA_ONE_E12) revert ImplausiblePrivacy(epsilonMicros, deltaE12);
        number = ++count;
        numberOf[modelHash] = number;
        _models[number] =
            Model(study, modelHash, cardHash, epsilonMicros, deltaE12, uint64(block.timestamp), msg.sender);
        emit ModelRegistered(number, study, modelHash, cardHash, epsilonMicros, deltaE12, msg.sender);
    }

    function _obeyedBy(BudgetLedger ledger) private view returns (WitnessSet) {
        if (address(ledger).code.length == 0) revert ForeignLedger(address(ledger));
        return ledger.witnesses();
    }
}
