// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Bls12381} from "./Bls12381.sol";

/// @title The hospitals that co-sign each other's logs, and how many must
/// @notice A witness is a BLS key whose possession was proven here. Every change of the set or of the quorum opens a
/// new epoch; what is co-signed names its epoch, so a signature gathered from an older set is worth nothing.
/// @dev Keys are kept as hashes and handed in again by the caller: half the gas of loading them. The precompiles read
/// each point in exactly one encoding, so equal hashes mean equal keys.
contract WitnessSet is Ownable2Step {
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
    /// Nobody could change the set afterwards.
    error OwnershipCannotBeRenounced();

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

    /// @param initialOwner the consortium's administrator
    constructor(address initialOwner) Ownable(initialOwner) {
        Bls12381.probe();
    }

    /// @notice Adds a witness and opens a new epoch.
    /// @param name the hospital, e.g. a hash of its name
    /// @param key its public key in G1, 128 bytes (EIP-2537)
    /// @param possession its proof of possession in G2, 256 bytes
    /// @return index its place, which it keeps for ever
    function register(bytes32 name, bytes calldata key, bytes calldata possession)
        external
        onlyOwner
        returns (uint256 index)
    {
        bytes32 keyHash = keccak256(key);
        if (_places[keyHash] != 0) revert DuplicateKey(_places[keyHash] - 1);
        index = registered;
        if (index == MAX_WITNESSES) revert SetFull();
        bytes memory compressed = Bls12381.compressG1(key);
        if (!Bls12381.isSignature(key, compressed, possession, Bls12381.POSSESSION_DST)) {
            revert InvalidPossession(name);
        }
        _witnesses[index] = Witness({keyHash: keyHash, name: name});
        _places[keyHash] = index + 1;
        ++registered;
        active |= 1 << index;
        emit WitnessRegistered(index, name, key, ++epoch);
    }

    /// @notice Takes a witness out and opens a new epoch. Refused where the quorum could then not be reached.
    function retire(uint256 index) external onlyOwner {
        _requireActive(index);
        active &= ~(1 << index);
        uint256 left = _count(active);
        if (left < quorum) revert ImpossibleQuorum(quorum, left);
        emit WitnessRetired(index, _witnesses[index].name, ++epoch);
    }

    /// @notice Sets how many must sign and opens a new epoch.
    function setQuorum(uint32 newQuorum) external onlyOwner {
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

    /// @notice The witness at a place, active or retired.
    function witness(uint256 index) external view returns (bytes32 name, bytes32 keyHash, bool isActive) {
        if (index >= registered) revert UnknownWitness(index);
        Witness storage found = _witnesses[index];
        return (found.name, found.keyHash, active >> index & 1 == 1);
    }

    /// @notice Always refused.
    function renounceOwnership() public view override onlyOwner {
        revert OwnershipCannotBeRenounced();
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
