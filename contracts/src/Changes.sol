// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @title Changes to a consortium: nobody makes one alone
/// @notice A change is a call that this contract makes, to itself or to a contract that obeys it. A quorum of the
/// hospitals agrees to one by its signature, and it is made at once; or the owner proposes one, everybody sees it for
/// `delaySeconds`, and a quorum may cancel it meanwhile.
/// @dev Agreements are numbered and name their epoch, so none is made twice or by an older set.
abstract contract Changes is Ownable2Step {
    /// Hospitals need a day at least, and no more than a year, to see what is proposed.
    error ImpossibleDelay(uint64 delaySeconds);
    /// A change calls a contract.
    error NotCallable(address target);
    /// Neither a quorum agreed to this, nor was it proposed and waited for.
    error NotAgreed(address account);
    /// Nothing was proposed under this number, or it was enacted or cancelled.
    error NotProposed(uint256 number);
    /// Hospitals may still look at this change.
    error TooEarly(uint256 number, uint64 due);
    /// The change was not enacted in time: whoever wants it proposes it again.
    error TooLate(uint256 number, uint64 expired);
    /// Nobody could propose anything afterwards.
    error OwnershipCannotBeRenounced();

    event ChangeProposed(uint256 indexed number, address indexed target, bytes call, uint64 due);
    event ChangeEnacted(uint256 indexed number);
    event ChangeCancelled(uint256 indexed number);
    event ChangeAgreed(uint256 indexed agreement, address indexed target, bytes call, uint256 bitmap);

    enum ChangeState {
        None,
        Proposed,
        Enacted,
        Cancelled
    }

    struct Change {
        address target;
        uint64 due;
        ChangeState state;
        bytes call;
    }

    /// Begins every message that agrees to a change, so that it can't be taken for one of another purpose.
    bytes32 public constant CHANGE_DOMAIN = "twinward/change/v1";
    /// How long a change may be enacted once it is due, in seconds.
    uint64 public constant WINDOW_SECONDS = 14 days;

    /// How long what the owner proposes is seen before it can be enacted.
    uint64 public immutable delaySeconds;
    /// How many changes were ever proposed; the newest one's number.
    uint256 public changes;
    /// How many changes a quorum agreed to; the next agreement's number.
    uint256 public agreements;

    mapping(uint256 number => Change) private _changes;

    /// @param initialOwner who proposes
    /// @param delaySeconds_ how long proposals are seen, from a day to a year
    constructor(address initialOwner, uint64 delaySeconds_) Ownable(initialOwner) {
        if (delaySeconds_ < 1 days || delaySeconds_ > 365 days) revert ImpossibleDelay(delaySeconds_);
        delaySeconds = delaySeconds_;
    }

    /// @notice Makes a change that a quorum signed. Who sends the transaction does not matter.
    /// @param target the contract to call
    /// @param call what to call it with
    /// @param bitmap the witnesses that signed `agreementMessage`
    /// @param keys their keys by ascending place, 128 bytes each
    /// @param aggregate the sum of their signatures, 256 bytes
    function agree(address target, bytes calldata call, uint256 bitmap, bytes[] calldata keys, bytes calldata aggregate)
        external
    {
        _requireQuorum(agreementMessage(target, call), bitmap, keys, aggregate);
        emit ChangeAgreed(agreements++, target, call, bitmap);
        _make(target, call);
    }

    /// @notice Proposes a change for everybody to see.
    /// @return number its number, from 1
    // Days are counted here, as in `enact`: seconds that a block's maker may choose do not matter.
    // slither-disable-next-line timestamp
    function propose(address target, bytes calldata call) external onlyOwner returns (uint256 number) {
        if (target.code.length == 0) revert NotCallable(target);
        uint64 due = uint64(block.timestamp) + delaySeconds;
        number = ++changes;
        _changes[number] = Change(target, due, ChangeState.Proposed, call);
        emit ChangeProposed(number, target, call, due);
    }

    /// @notice Makes a proposed change once everybody had the time to see it. Who sends it does not matter.
    // Delays are days; what a block's maker can shift are seconds.
    // slither-disable-next-line timestamp
    function enact(uint256 number) external {
        Change storage found = _proposed(number);
        if (block.timestamp < found.due) revert TooEarly(number, found.due);
        uint64 expires = found.due + WINDOW_SECONDS;
        if (block.timestamp > expires) revert TooLate(number, expires);
        found.state = ChangeState.Enacted;
        emit ChangeEnacted(number);
        _make(found.target, found.call);
    }

    /// @notice Takes a proposal back: its owner does, or a quorum that agrees to calling this.
    function cancel(uint256 number) external {
        if (msg.sender != address(this)) _checkOwner();
        _proposed(number).state = ChangeState.Cancelled;
        emit ChangeCancelled(number);
    }

    /// @notice One change; all zero if it was never proposed.
    function change(uint256 number)
        external
        view
        returns (address target, uint64 due, ChangeState state, bytes memory call)
    {
        Change storage found = _changes[number];
        return (found.target, found.due, found.state, found.call);
    }

    /// @notice What a quorum signs now to have a change made: 7 words of 32 bytes.
    function agreementMessage(address target, bytes calldata call) public view returns (bytes memory) {
        return abi.encode(CHANGE_DOMAIN, block.chainid, address(this), _epoch(), agreements, target, sha256(call));
    }

    /// @notice Always refused.
    function renounceOwnership() public view override onlyOwner {
        revert OwnershipCannotBeRenounced();
    }

    /// The epoch of the set that agrees.
    function _epoch() internal view virtual returns (uint64);

    /// Reverts unless a quorum signed the message.
    function _requireQuorum(bytes memory message, uint256 bitmap, bytes[] calldata keys, bytes calldata aggregate)
        internal
        view
        virtual;

    function _make(address target, bytes memory call) private {
        // What the callee returns is of no use to anybody here; what it refuses with reverts everything.
        // slither-disable-next-line unused-return
        Address.functionCall(target, call);
    }

    function _proposed(uint256 number) private view returns (Change storage found) {
        found = _changes[number];
        if (found.state != ChangeState.Proposed) revert NotProposed(number);
    }
}
