// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Bls12381} from "./Bls12381.sol";
import {Changes} from "./Changes.sol";

/// @title The hospitals that co-sign each other's logs, and how many must
/// @notice A witness is a BLS key whose possession was proven here. Every change of the set or of the quorum opens a
/// new epoch; what is co-signed names its epoch, so a signature gathered from an older set is worth nothing.
/// While a consortium is founded its owner registers the witnesses. Setting the first quorum ends that: from then on
/// the set, the quorum and all contracts that obey this one change by the hospitals' agreement only (see `Changes`).
/// @dev Keys are kept as hashes and handed in again by the caller: half the gas of loading them. The precompiles read
/// each point in exactly one encoding, so equal hashes mean equal keys.
contract WitnessSet is Changes {
    /// The proof does not show that the key's secret is held.
    error InvalidPossession(bytes32 name);
    /// The key stands, or once stood, at this place of the set. A retired key never returns.
    error DuplicateKey(uint256 index);
    /// Places are bits of one word.
    error SetFull();
    /// The set has no active witness at this place.
    error UnknownWitness(uint256 index);
    /// The quorum must be between one and the number of active witnesses.
    error ImpossibleQuorum(uint256 quorum, uint256 active);
    /// Nothing can be co-signed before a quorum is set.
    error QuorumUnset();
    /// Fewer witnesses signed than must.
    error QuorumNotReached(uint256 signers, uint256 quorum);
    /// There must be one key for every bit of the bitmap.
    error KeyCountMismatch(uint256 signers, uint256 keys);
    /// The key handed in is not the one registered at this place.
    error KeyMismatch(uint256 index);
    /// The aggregate is not these witnesses' signature over this message in this epoch.
    error InvalidQuorumSignature();
    /// An active witness has this name.
    error DuplicateName(bytes32 name);
    /// No active witness has this name.
    error UnknownName(bytes32 name);
    /// The aggregate is not these hospitals' signature over this message.
    error InvalidSignature();
    /// The consortium is founded: nobody writes into it alone any more.
    error NotFounding(address account);

    event WitnessRegistered(uint256 indexed index, bytes32 indexed name, bytes key, uint64 epoch);
    event WitnessRetired(uint256 indexed index, bytes32 indexed name, uint64 epoch);
    event QuorumSet(uint32 quorum, uint64 epoch);

    uint256 private constant MAX_WITNESSES = 256;

    struct Witness {
        bytes32 keyHash;
        bytes32 name;
    }

    /// Counts the changes of the set; the first set that can sign anything has a quorum and so an epoch of 2 or more.
    uint64 public epoch;
    /// How many must sign; zero before it is first set.
    uint32 public quorum;
    /// How many places were ever given out.
    uint32 public registered;
    /// Bit i is set while the witness at place i is active.
    uint256 public active;

    mapping(uint256 index => Witness) private _witnesses;
    /// Place of a key plus one; zero for a key never seen.
    mapping(bytes32 keyHash => uint256) private _places;
    /// Place of the active witness of a name plus one; zero for none.
    mapping(bytes32 name => uint256) private _named;

    modifier onlyAgreed() {
        requireAgreed(msg.sender);
        _;
    }

    /// @param initialOwner who founds the consortium, and proposes changes to it later
    /// @param delaySeconds_ how long proposals are seen before they can be enacted, from a day to a year
    constructor(address initialOwner, uint64 delaySeconds_) Changes(initialOwner, delaySeconds_) {
        Bls12381.probe();
    }

    /// @notice Adds a witness and opens a new epoch.
    /// @param name the hospital, e.g. a hash of its name
    /// @param key its public key in G1, 128 bytes (EIP-2537)
    /// @param possession its proof of possession in G2, 256 bytes
    /// @return index its place, which it keeps for ever
    function register(bytes32 name, bytes calldata key, bytes calldata possession)
        external
        onlyAgreed
        returns (uint256 index)
    {
        bytes32 keyHash = keccak256(key);
        if (_places[keyHash] != 0) revert DuplicateKey(_places[keyHash] - 1);
        if (_named[name] != 0) revert DuplicateName(name);
        index = registered;
        if (index == MAX_WITNESSES) revert SetFull();
        bytes memory compressed = Bls12381.compressG1(key);
        if (!Bls12381.isSignature(key, compressed, possession, Bls12381.POSSESSION_DST)) {
            revert InvalidPossession(name);
        }
        _witnesses[index] = Witness({keyHash: keyHash, name: name});
        _places[keyHash] = index + 1;
        _named[name] = index + 1;
        ++registered;
        active |= 1 << index;
        emit WitnessRegistered(index, name, key, ++epoch);
    }

    /// @notice Takes a witness out and opens a new epoch. Refused where the quorum could then not be reached.
    function retire(uint256 index) external onlyAgreed {
        _requireActive(index);
        active &= ~(1 << index);
        uint256 left = _count(active);
        if (left < quorum) revert ImpossibleQuorum(quorum, left);
        bytes32 name = _witnesses[index].name;
        delete _named[name];
        emit WitnessRetired(index, name, ++epoch);
    }

    /// @notice Sets how many must sign and opens a new epoch. The first time, the consortium is founded.
    function setQuorum(uint32 newQuorum) external onlyAgreed {
        uint256 count = _count(active);
        if (newQuorum == 0 || newQuorum > count) revert ImpossibleQuorum(newQuorum, count);
        quorum = newQuorum;
        emit QuorumSet(newQuorum, ++epoch);
    }

    /// @notice Reverts unless a quorum of active witnesses signed the message.
    /// @param message what they signed; the caller puts chain, contract and epoch into it
    /// @param bitmap bit i is set where witness i signed
    /// @param keys the signers' keys by ascending place, 128 bytes each
    /// @param aggregate the sum of their signatures, 256 bytes
    function requireQuorum(bytes calldata message, uint256 bitmap, bytes[] calldata keys, bytes calldata aggregate)
        external
        view
    {
        _requireQuorum(message, bitmap, keys, aggregate);
    }

    /// @notice Reverts unless every one of these hospitals signed the message, by its active witness's key.
    /// @param names the hospitals
    /// @param message what they signed; the caller puts chain and contract into it, and what makes it unique
    /// @param keys their keys in the same order, 128 bytes each
    /// @param aggregate the sum of their signatures, 256 bytes
    function requireSignedBy(
        bytes32[] calldata names,
        bytes calldata message,
        bytes[] calldata keys,
        bytes calldata aggregate
    ) external view {
        if (names.length == 0 || names.length != keys.length) {
            revert KeyCountMismatch(names.length, keys.length);
        }
        bytes memory sum = "";
        for (uint256 i = 0; i < names.length; ++i) {
            uint256 place = _named[names[i]];
            if (place == 0) revert UnknownName(names[i]);
            if (keccak256(keys[i]) != _witnesses[place - 1].keyHash) revert KeyMismatch(place - 1);
            sum = i == 0 ? keys[0] : Bls12381.addG1(sum, keys[i]);
        }
        if (!Bls12381.isSignature(sum, message, aggregate, Bls12381.SIGNATURE_DST)) revert InvalidSignature();
    }

    /// @notice Reverts unless the account founds this consortium, and nothing else was agreed on yet.
    function requireFounding(address account) external view {
        if (quorum != 0 || account != owner()) revert NotFounding(account);
    }

    /// @notice The witness at a place, active or retired.
    function witness(uint256 index) external view returns (bytes32 name, bytes32 keyHash, bool isActive) {
        if (index >= registered) revert UnknownWitness(index);
        Witness storage found = _witnesses[index];
        return (found.name, found.keyHash, active >> index & 1 == 1);
    }

    /// @notice Reverts unless what this account does was agreed on: it is this contract, making a change, or the owner
    /// while the consortium is founded.
    function requireAgreed(address account) public view {
        if (account == address(this)) return;
        if (quorum != 0 || account != owner()) revert NotAgreed(account);
    }

    /// @inheritdoc Changes
    function _epoch() internal view override returns (uint64) {
        return epoch;
    }

    /// @inheritdoc Changes
    function _requireQuorum(bytes memory message, uint256 bitmap, bytes[] calldata keys, bytes calldata aggregate)
        internal
        view
        override
    {
        uint256 needed = quorum;
        if (needed == 0) revert QuorumUnset();
        uint256 strangers = bitmap & ~active;
        if (strangers != 0) revert UnknownWitness(_lowest(strangers));
        uint256 signers = _count(bitmap);
        if (signers < needed) revert QuorumNotReached(signers, needed);
        if (signers != keys.length) revert KeyCountMismatch(signers, keys.length);
        bytes memory sum = _sum(bitmap, keys);
        if (!Bls12381.isSignature(sum, message, aggregate, Bls12381.SIGNATURE_DST)) revert InvalidQuorumSignature();
    }

    /// Adds the keys up, each held against the one registered at its place.
    function _sum(uint256 bitmap, bytes[] calldata keys) private view returns (bytes memory sum) {
        for (uint256 i = 0; i < keys.length; ++i) {
            uint256 index = _lowest(bitmap);
            bitmap &= bitmap - 1;
            if (keccak256(keys[i]) != _witnesses[index].keyHash) revert KeyMismatch(index);
            sum = i == 0 ? keys[0] : Bls12381.addG1(sum, keys[i]);
        }
    }

    function _requireActive(uint256 index) private view {
        if (index >= MAX_WITNESSES || active >> index & 1 == 0) revert UnknownWitness(index);
    }

    function _lowest(uint256 bits) private pure returns (uint256 index) {
        while (bits & 1 == 0) {
            bits >>= 1;
            ++index;
        }
    }

    function _count(uint256 bits) private pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) {
            ++count;
        }
    }
}
