// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {WitnessSet} from "./WitnessSet.sol";

/// @title The consortium's members: the accounts of hospital nodes that may write
/// @notice Members are admitted and expelled by the consortium's agreement (see `Changes`), never by one account.
abstract contract Members {
    /// The witness set is not a contract.
    error NotAContract(address account);
    /// Only a member of the consortium may do this.
    error NotMember(address account);
    /// The account is a member already.
    error AlreadyMember(address account);

    event MemberAdmitted(address indexed account);
    event MemberExpelled(address indexed account);

    /// The hospitals whose agreement counts.
    WitnessSet public immutable witnesses;

    /// Accounts that may write.
    mapping(address account => bool) public isMember;

    modifier onlyMember() {
        if (!isMember[msg.sender]) revert NotMember(msg.sender);
        _;
    }

    modifier onlyAgreed() {
        witnesses.requireAgreed(msg.sender);
        _;
    }

    /// @param witnesses_ the set whose agreement counts
    /// @param firstMember admitted from the start
    constructor(WitnessSet witnesses_, address firstMember) {
        if (address(witnesses_).code.length == 0) revert NotAContract(address(witnesses_));
        witnesses = witnesses_;
        _admit(firstMember);
    }

    /// @notice Lets an account write.
    function admit(address account) external onlyAgreed {
        _admit(account);
    }

    /// @notice Takes the right to write away.
    function expel(address account) external onlyAgreed {
        if (!isMember[account]) revert NotMember(account);
        delete isMember[account];
        emit MemberExpelled(account);
    }

    function _admit(address account) private {
        if (isMember[account]) revert AlreadyMember(account);
        isMember[account] = true;
        emit MemberAdmitted(account);
    }
}
