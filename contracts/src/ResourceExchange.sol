// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {WitnessSet} from "./WitnessSet.sol";

/// @title Ventilators, beds and blood that hospitals lend each other
/// @notice A hospital offers or requests a quantity of a resource; the one that offers promises a part of it to a
/// request, ships it, and the one that asked receives it. Each step is signed by the hospital whose step it is, whoever
/// sends it, and has its deadline. Nothing about a patient stands here: codes, quantities, times, and salted hashes of
/// what the two tell each other.
/// @dev Listings carry an id of the hospital's choice, and promises one of the giver's, which count once: what is sent
/// again after a lost answer is refused and enters nothing. Every later step is possible once, so its signature is
/// worth nothing afterwards.
contract ResourceExchange {
    /// The witness set is not a contract.
    error NotAContract(address account);
    /// There is nothing to give, or no word for it.
    error NothingListed();
    /// A deadline lies ahead, in its order, and within a year.
    error ImpossibleDeadline(uint64 chainTime, uint64 deadline);
    /// This hospital used this id before.
    error RequestReplayed(bytes32 hospital, bytes32 id);
    /// No listing has this number.
    error UnknownListing(uint256 listing);
    /// The listing's time is over.
    error ListingEnded(uint256 listing, uint64 until);
    /// The listing has less left.
    error NotLeft(uint256 listing, uint32 left, uint32 asked);
    /// A promise takes an offer to another hospital's request for the same resource.
    error NotMatching(uint256 offer, uint256 request);
    /// A step that this transfer is not ready for, or had already.
    error WrongState(uint256 transfer, State state);
    /// The step came after its deadline.
    error TooLate(uint256 transfer, uint64 deadline);
    /// The deadline has not passed yet.
    error TooEarly(uint256 transfer, uint64 deadline);
    /// More cannot have arrived than was promised.
    error MoreThanPromised(uint256 transfer, uint32 promised, uint32 arrived);
    /// The hospital has no part in this transfer.
    error NotParty(uint256 transfer, bytes32 hospital);

    event Listed(
        uint256 indexed listing,
        bytes32 indexed hospital,
        bytes32 indexed resource,
        Kind kind,
        uint32 quantity,
        uint64 until,
        bytes32 details
    );
    event Withdrawn(uint256 indexed listing, uint32 left);
    event Promised(
        uint256 indexed transfer,
        uint256 indexed offer,
        uint256 indexed request,
        uint32 quantity,
        uint64 shipBy,
        uint64 receiveBy,
        bytes32 details
    );
    event Shipped(uint256 indexed transfer);
    event Received(uint256 indexed transfer, uint32 arrived, bool late);
    event Disputed(uint256 indexed transfer, bytes32 indexed hospital, bytes32 evidence);
    event Settled(uint256 indexed transfer, uint32 arrived, bool byQuorum);
    event Cancelled(uint256 indexed transfer, bytes32 indexed hospital);
    event Lapsed(uint256 indexed transfer, bytes32 indexed giver);

    enum Kind {
        None,
        Offer,
        Request
    }

    enum State {
        None,
        Promised,
        Shipped,
        Received,
        Disputed,
        Settled,
        Cancelled,
        Lapsed
    }

    /// What a hospital offers or requests. `details` is a salted hash of what both need to know.
    struct Terms {
        bytes32 hospital;
        bytes32 id;
        bytes32 resource;
        bytes32 details;
        uint32 quantity;
        uint64 until;
    }

    struct Listing {
        bytes32 hospital;
        bytes32 resource;
        Kind kind;
        uint32 quantity;
        uint32 left;
        uint64 until;
        bytes32 details;
    }

    /// What a giver promises: a part of its offer to a request, and by when it leaves and arrives.
    struct Promise {
        bytes32 id;
        uint256 offer;
        uint256 request;
        uint32 quantity;
        uint64 shipBy;
        uint64 receiveBy;
        bytes32 details;
    }

    struct Transfer {
        uint256 offer;
        uint256 request;
        uint32 quantity;
        uint32 arrived;
        uint64 shipBy;
        uint64 receiveBy;
        uint64 receivedAt;
        State state;
        bytes32 details;
    }

    /// Begins every message that a hospital signs here, so that it can't be taken for one of another purpose.
    bytes32 public constant DOMAIN = "twinward/exchange/v1";
    /// How far ahead a deadline may lie.
    uint64 public constant MAX_AHEAD_SECONDS = 366 days;
    /// How long what was received may be disputed.
    uint64 public constant DISPUTE_SECONDS = 14 days;

    /// The hospitals, whose signatures and agreement count.
    WitnessSet public immutable witnesses;
    /// How many listings there are; the newest one's number.
    uint256 public listings;
    /// How many transfers were ever promised; the newest one's number.
    uint256 public transfers;

    /// The listing that a hospital made under an id; zero for none.
    mapping(bytes32 hospital => mapping(bytes32 id => uint256)) public listingOf;
    /// The transfer that a hospital promised under an id; zero for none.
    mapping(bytes32 hospital => mapping(bytes32 id => uint256)) public transferOf;
    /// How many promises a hospital did not keep: cancelled by itself, or not shipped in time.
    mapping(bytes32 hospital => uint256) public broken;

    mapping(uint256 listing => Listing) private _listings;
    mapping(uint256 transfer => Transfer) private _transfers;

    /// @param witnesses_ the hospitals
    constructor(WitnessSet witnesses_) {
        if (address(witnesses_).code.length == 0) revert NotAContract(address(witnesses_));
        witnesses = witnesses_;
    }

    /// @notice Offers a resource, or requests it.
    /// @param kind which of the two
    /// @param terms what, how much, until when: an offer can be promised, and a request must be met, until then
    /// @param key the hospital's, 128 bytes
    /// @param signature its own over `listMessage`, 256 bytes
    /// @return listing its number, from 1
    // Deadlines are hours or days; what a block's maker can shift are seconds.
    // slither-disable-next-line timestamp
    function list(Kind kind, Terms calldata terms, bytes calldata key, bytes calldata signature)
        external
        returns (uint256 listing)
    {
        if (kind == Kind.None || terms.quantity == 0 || terms.resource == 0) revert NothingListed();
        _requireAhead(uint64(block.timestamp), terms.until);
        if (listingOf[terms.hospital][terms.id] != 0) revert RequestReplayed(terms.hospital, terms.id);
        _requireSignedBy(terms.hospital, listMessage(kind, terms), key, signature);
        listing = ++listings;
        listingOf[terms.hospital][terms.id] = listing;
        _listings[listing] =
            Listing(terms.hospital, terms.resource, kind, terms.quantity, terms.quantity, terms.until, terms.details);
        emit Listed(listing, terms.hospital, terms.resource, kind, terms.quantity, terms.until, terms.details);
    }

    /// @notice Ends a listing before its time. What was promised stays promised.
    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function withdraw(uint256 listing, bytes calldata key, bytes calldata signature) external {
        Listing storage found = _listed(listing);
        if (block.timestamp > found.until) revert ListingEnded(listing, found.until);
        _requireSignedBy(found.hospital, stepMessage("withdraw", listing, found.hospital, 0), key, signature);
        found.until = uint64(block.timestamp) - 1;
        emit Withdrawn(listing, found.left);
    }

    /// @notice Promises a part of an offer to a request; the hospital that offers signs.
    /// @return transfer its number, from 1
    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function promiseTransfer(Promise calldata given, bytes calldata key, bytes calldata signature)
        external
        returns (uint256 transfer)
    {
        Listing storage offered = _open(given.offer, given.quantity);
        Listing storage requested = _open(given.request, given.quantity);
        bytes32 giver = offered.hospital;
        if (
            offered.kind != Kind.Offer || requested.kind != Kind.Request || offered.resource != requested.resource
                || giver == requested.hospital
        ) revert NotMatching(given.offer, given.request);
        _requireAhead(uint64(block.timestamp), given.shipBy);
        _requireAhead(given.shipBy, given.receiveBy);
        if (given.receiveBy > requested.until) revert ImpossibleDeadline(requested.until, given.receiveBy);
        if (transferOf[giver][given.id] != 0) revert RequestReplayed(giver, given.id);
        _requireSignedBy(giver, promiseMessage(given), key, signature);
        offered.left -= given.quantity;
        requested.left -= given.quantity;
        transfer = ++transfers;
        transferOf[giver][given.id] = transfer;
        Transfer storage made = _transfers[transfer];
        (made.offer, made.request, made.quantity) = (given.offer, given.request, given.quantity);
        (made.shipBy, made.receiveBy, made.details) = (given.shipBy, given.receiveBy, given.details);
        made.state = State.Promised;
        emit Promised(
            transfer, given.offer, given.request, given.quantity, given.shipBy, given.receiveBy, given.details
        );
    }

    /// @notice Says that what was promised is on its way; the giver signs, by its deadline.
    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function shipTransfer(uint256 transfer, bytes calldata key, bytes calldata signature) external {
        Transfer storage found = _in(transfer, State.Promised);
        if (block.timestamp > found.shipBy) revert TooLate(transfer, found.shipBy);
        bytes32 giver = _listings[found.offer].hospital;
        _requireSignedBy(giver, stepMessage("ship", transfer, giver, 0), key, signature);
        found.state = State.Shipped;
        emit Shipped(transfer);
    }

    /// @notice Says how much arrived; the hospital that requested it signs. Late is recorded as late.
    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function receiveTransfer(uint256 transfer, uint32 arrived, bytes calldata key, bytes calldata signature) external {
        Transfer storage found = _in(transfer, State.Shipped);
        if (arrived > found.quantity) revert MoreThanPromised(transfer, found.quantity, arrived);
        bytes32 receiver = _listings[found.request].hospital;
        bytes memory message = stepMessage("receive", transfer, receiver, bytes32(uint256(arrived)));
        _requireSignedBy(receiver, message, key, signature);
        (found.state, found.arrived, found.receivedAt) = (State.Received, arrived, uint64(block.timestamp));
        emit Received(transfer, arrived, block.timestamp > found.receiveBy);
    }

    /// @notice Disputes what was shipped, or for `DISPUTE_SECONDS` what was received; either of the two signs.
    /// @param evidence salted hash of what it has to say
    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function disputeTransfer(
        uint256 transfer,
        bytes32 hospital,
        bytes32 evidence,
        bytes calldata key,
        bytes calldata signature
    ) external {
        Transfer storage found = _transfers[transfer];
        if (found.state == State.Received) {
            uint64 last = found.receivedAt + DISPUTE_SECONDS;
            if (block.timestamp > last) revert TooLate(transfer, last);
        } else if (found.state != State.Shipped) {
            revert WrongState(transfer, found.state);
        }
        _requireParty(transfer, found, hospital);
        _requireSignedBy(hospital, stepMessage("dispute", transfer, hospital, evidence), key, signature);
        found.state = State.Disputed;
        emit Disputed(transfer, hospital, evidence);
    }

    /// @notice Settles a dispute: both hospitals sign how much arrived, giver first.
    function settleTransfer(uint256 transfer, uint32 arrived, bytes[] calldata keys, bytes calldata aggregate)
        external
    {
        Transfer storage found = _in(transfer, State.Disputed);
        bytes32[] memory both = new bytes32[](2);
        (both[0], both[1]) = (_listings[found.offer].hospital, _listings[found.request].hospital);
        bytes memory message = stepMessage("settle", transfer, 0, bytes32(uint256(arrived)));
        witnesses.requireSignedBy(both, message, keys, aggregate);
        _settle(transfer, found, arrived, false);
    }

    /// @notice Settles a dispute by the consortium's agreement (see `Changes`), where the two find none.
    function decideTransfer(uint256 transfer, uint32 arrived) external {
        witnesses.requireAgreed(msg.sender);
        _settle(transfer, _in(transfer, State.Disputed), arrived, true);
    }

    /// @notice Undoes a promise before it is shipped; either of the two signs. A giver that does breaks its word.
    function cancelTransfer(uint256 transfer, bytes32 hospital, bytes calldata key, bytes calldata signature) external {
        Transfer storage found = _in(transfer, State.Promised);
        _requireParty(transfer, found, hospital);
        _requireSignedBy(hospital, stepMessage("cancel", transfer, hospital, 0), key, signature);
        if (hospital == _listings[found.offer].hospital) ++broken[hospital];
        _undo(found, State.Cancelled);
        emit Cancelled(transfer, hospital);
    }

    /// @notice Undoes a promise that was not shipped in time. Who sends it does not matter.
    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function lapseTransfer(uint256 transfer) external {
        Transfer storage found = _in(transfer, State.Promised);
        if (block.timestamp <= found.shipBy) revert TooEarly(transfer, found.shipBy);
        bytes32 giver = _listings[found.offer].hospital;
        ++broken[giver];
        _undo(found, State.Lapsed);
        emit Lapsed(transfer, giver);
    }

    /// @notice One listing.
    function listingAt(uint256 listing) external view returns (Listing memory) {
        return _listed(listing);
    }

    /// @notice One transfer; all zero if it was never promised.
    function transferAt(uint256 transfer) external view returns (Transfer memory) {
        return _transfers[transfer];
    }

    /// @notice What a hospital signs to offer or request: 10 words of 32 bytes.
    function listMessage(Kind kind, Terms calldata terms) public view returns (bytes memory) {
        bytes32 purpose = kind == Kind.Offer ? bytes32("offer") : bytes32("request");
        return abi.encode(
            DOMAIN,
            block.chainid,
            address(this),
            purpose,
            terms.hospital,
            terms.id,
            terms.resource,
            terms.details,
            terms.quantity,
            terms.until
        );
    }

    /// @notice What a giver signs to promise: 11 words of 32 bytes.
    function promiseMessage(Promise calldata given) public view returns (bytes memory) {
        return abi.encode(
            DOMAIN,
            block.chainid,
            address(this),
            bytes32("promise"),
            given.id,
            given.offer,
            given.request,
            given.quantity,
            given.shipBy,
            given.receiveBy,
            given.details
        );
    }

    /// @notice What is signed for every other step: 7 words of 32 bytes.
    /// @param purpose withdraw, ship, receive, dispute, settle or cancel
    /// @param number of the transfer, or of the listing that is withdrawn
    /// @param hospital whose step it is; zero for both
    /// @param detail how much arrived, or the hash of what is said in a dispute; zero otherwise
    function stepMessage(bytes32 purpose, uint256 number, bytes32 hospital, bytes32 detail)
        public
        view
        returns (bytes memory)
    {
        return abi.encode(DOMAIN, block.chainid, address(this), purpose, number, hospital, detail);
    }

    function _settle(uint256 transfer, Transfer storage found, uint32 arrived, bool byQuorum) private {
        if (arrived > found.quantity) revert MoreThanPromised(transfer, found.quantity, arrived);
        (found.state, found.arrived) = (State.Settled, arrived);
        emit Settled(transfer, arrived, byQuorum);
    }

    /// Gives back to both listings what a promise had taken.
    function _undo(Transfer storage found, State state) private {
        found.state = state;
        _listings[found.offer].left += found.quantity;
        _listings[found.request].left += found.quantity;
    }

    function _requireSignedBy(bytes32 hospital, bytes memory message, bytes calldata key, bytes calldata signature)
        private
        view
    {
        bytes32[] memory hospitals = new bytes32[](1);
        bytes[] memory keys = new bytes[](1);
        (hospitals[0], keys[0]) = (hospital, key);
        witnesses.requireSignedBy(hospitals, message, keys, signature);
    }

    function _requireParty(uint256 transfer, Transfer storage found, bytes32 hospital) private view {
        if (hospital != _listings[found.offer].hospital && hospital != _listings[found.request].hospital) {
            revert NotParty(transfer, hospital);
        }
    }

    function _listed(uint256 listing) private view returns (Listing storage found) {
        found = _listings[listing];
        if (found.kind == Kind.None) revert UnknownListing(listing);
    }

    /// A listing that stands and has so much left.
    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function _open(uint256 listing, uint32 quantity) private view returns (Listing storage found) {
        found = _listed(listing);
        if (block.timestamp > found.until) revert ListingEnded(listing, found.until);
        if (quantity == 0 || quantity > found.left) revert NotLeft(listing, found.left, quantity);
    }

    function _in(uint256 transfer, State state) private view returns (Transfer storage found) {
        found = _transfers[transfer];
        if (found.state != state) revert WrongState(transfer, found.state);
    }

    // As in `list`: hours or days.
    // slither-disable-next-line timestamp
    function _requireAhead(uint64 earlier, uint64 deadline) private view {
        if (deadline <= earlier || deadline > block.timestamp + MAX_AHEAD_SECONDS) {
            revert ImpossibleDeadline(uint64(block.timestamp), deadline);
        }
    }
}
