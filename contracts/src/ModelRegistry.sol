// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Members} from "./Members.sol";

/// @title Trained models and the privacy each of them cost
/// @notice Entries are never changed. Nothing about a hospital's data or metrics stands here.
contract ModelRegistry is Members {
    /// A study, a model and a card must be named.
    error EmptyHash();
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

    /// How many models there are; the newest one's number.
    uint256 public count;
    /// A model's number; zero for one not registered.
    mapping(bytes32 modelHash => uint256) public numberOf;

    mapping(uint256 number => Model) private _models;

    /// @param initialOwner the consortium's administrator
    constructor(address initialOwner) Members(initialOwner) {}

    /// @notice Registers a model.
    /// @param study the study that trained it
    /// @param modelHash SHA-256 of its weights
    /// @param cardHash SHA-256 of its card
    /// @param epsilonMicros the epsilon charged, in millionths
    /// @param deltaE12 the delta of that epsilon, times 10^12
    /// @return number its number, from 1
    function register(bytes32 study, bytes32 modelHash, bytes32 cardHash, uint64 epsilonMicros, uint64 deltaE12)
        external
        onlyMember
        returns (uint256 number)
    {
        if (study == 0 || modelHash == 0 || cardHash == 0) revert EmptyHash();
        if (numberOf[modelHash] != 0) revert AlreadyRegistered(modelHash, numberOf[modelHash]);
        if (epsilonMicros == 0 || deltaE12 >= DELTA_ONE_E12) revert ImplausiblePrivacy(epsilonMicros, deltaE12);
        number = ++count;
        numberOf[modelHash] = number;
        _models[number] =
            Model(study, modelHash, cardHash, epsilonMicros, deltaE12, uint64(block.timestamp), msg.sender);
        emit ModelRegistered(number, study, modelHash, cardHash, epsilonMicros, deltaE12, msg.sender);
    }

    /// @notice One model.
    function model(uint256 number) external view returns (Model memory) {
        if (number == 0 || number > count) revert UnknownModel(number);
        return _models[number];
    }
}
