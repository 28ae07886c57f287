// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

/// @title The consortium's members: the accounts of hospital nodes that may write
/// @notice The owner admits and expels; ownership moves in two steps and can't be given up by accident.
abstract contract Members is Ownable2Step {
    /// Only a member of the consortium may do this.
    error NotMember(address account);
    /// The account is a member already.
    error AlreadyMember(address account);
    /// Nobody could admit or expel afterwards.
    error OwnershipCannotBeRenounced();

    event MemberAdmitted(address indexed account);
    event MemberExpelled(address indexed account);

    /// Accounts that may write.
    mapping(address account => bool) public isMember;

    modifier onlyMember() {
        if (!isMember[msg.sender]) revert NotMember(msg.sender);
        _;
    }

    /// @param initialOwner the administrator, admitted as the first member
    constructor(address initialOwner) Ownable(initialOwner) {
        _admit(initialOwner);
    }

    /// @notice Lets an account write.
    function admit(address account) external onlyOwner {
        _admit(account);
    }

    /// @notice Takes the right to write away.
    function expel(address account) external onlyOwner {
        if (!isMember[account]) revert NotMember(account);
        delete isMember[account];
        emit MemberExpelled(account);
    }

    /// @notice Always refused.
    function renounceOwnership() public view override onlyOwner {
        revert OwnershipCannotBeRenounced();
    }

    function _admit(address account) private {
        if (isMember[account]) revert AlreadyMember(account);
        isMember[account] = true;
        emit MemberAdmitted(account);
    }
}
