// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AccessAnchor} from "../src/AccessAnchor.sol";
import {BreakGlass} from "../src/BreakGlass.sol";
import {BudgetLedger} from "../src/BudgetLedger.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {OutbreakAlert} from "../src/OutbreakAlert.sol";
import {ResourceExchange} from "../src/ResourceExchange.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {ReferenceTree} from "./ReferenceTree.sol";
import {Witnesses} from "./Witnesses.sol";

/// What .gas-snapshot holds: one transaction of each kind, with everything that leads up to it done in `setUp`.
contract GasTest is Witnesses {
    uint64 private constant NOW = 1_767_225_600;
    uint64 private constant FIRST = 1001;
    uint64 private constant SECOND = 2002;

    AccessAnchor private anchor;
    BudgetLedger private budget;
    BreakGlass private glass;
    ModelRegistry private models;
    bytes32 private root;
    bytes32[] private proof;
    bytes[] private keys;
    bytes private aggregate;
    bytes private reserving;
    bytes private committing;
    bytes private granting;
    bytes private agreeing;
    bytes32[] private hospitals;
    ResourceExchange private exchange;
    bytes private listing;
    bytes private promising;
    bytes private shipping;
    OutbreakAlert private outbreak;
    OutbreakAlert.Statement private said;
    bytes private raising;

    function setUp() public {
        vm.warp(NOW);
        deployWitnesses(3, 0);
        anchor = new AccessAnchor(witnesses);
        budget = new BudgetLedger(witnesses, address(this), 1 days);
        glass = new BreakGlass(witnesses, address(this), 72 hours);
        models = new ModelRegistry(budget, address(this));
        budget.grantQueries("vendor", 100);
        hospitals = [nameOf(0), nameOf(1), nameOf(2)];
        for (uint256 i = 0; i < 3; ++i) {
            budget.carryPrivacy(hospitals[i], "cohort", 1000, 0);
        }
        witnesses.setQuorum(2);
        _prepareAnchor();
        glass.declare("declared");
        (bytes[] memory signers, bytes memory signed) = _reserved("earlier");
        budget.reserve("earlier", "study", "cohort", hospitals, 10, signers, signed);
        (, reserving) = _reserved("request");
        (, committing) = cosign(7, budget.settleMessage(1, BudgetLedger.State.Committed));
        (signers, signed) = _reserved("paid");
        budget.reserve("paid", "study", "cohort", hospitals, 10, signers, signed);
        (signers, signed) = cosign(7, budget.settleMessage(2, BudgetLedger.State.Committed));
        budget.commit(2, signers, signed);
        granting = abi.encodeCall(BudgetLedger.grantQueries, ("other", 5));
        (, agreeing) = cosign(7, witnesses.agreementMessage(address(budget), granting));
        _prepareExchange();
        outbreak = new OutbreakAlert(witnesses);
        said = OutbreakAlert.Statement("influenza-like-illness", "terms", uint32(NOW / 1 days), 140, 101_500, 131_250);
        (, raising) = cosign(7, outbreak.raiseMessage(said));
    }

    function test_raiseAnAlertByThree() public {
        outbreak.raise(said, 7, keys, raising);
    }

    function test_offerAResource() public {
        _send(listing);
    }

    function test_promiseATransfer() public {
        _send(promising);
    }

    function test_shipATransfer() public {
        _send(shipping);
    }

    function test_anchorASecondCheckpointByThree() public {
        anchor.anchor("log", SECOND, root, NOW, proof, 7, keys, aggregate);
    }

    function test_agreeToAGrantByThree() public {
        witnesses.agree(address(budget), granting, 7, keys, agreeing);
    }

    function test_proposeAGrant() public {
        witnesses.propose(address(budget), granting);
    }

    function test_spendAQuery() public {
        budget.spendQueries("vendor", NOW / 1 days, 1, "request");
    }

    function test_reserveForThreeHospitals() public {
        budget.reserve("request", "study", "cohort", hospitals, 10, keys, reserving);
    }

    function test_commitForThreeHospitals() public {
        budget.commit(1, keys, committing);
    }

    function test_declareAnEmergency() public {
        glass.declare("new");
    }

    function test_reviewAnEmergency() public {
        glass.review("declared", true, "report");
    }

    function test_registerAModel() public {
        models.register(2, "model", "card", 1_000_000, 10_000_000);
    }

    function test_deployTheWitnessSet() public {
        new WitnessSet(address(this), 1 days);
    }

    function test_deployTheAnchor() public {
        new AccessAnchor(witnesses);
    }

    function _send(bytes memory call) private {
        (bool made,) = address(exchange).call(call);
        require(made, "refused");
    }

    function _listing(uint256 hospital, ResourceExchange.Kind kind, bytes32 id) private view returns (bytes memory) {
        ResourceExchange.Terms memory given =
            ResourceExchange.Terms(nameOf(hospital), id, "ventilator", "salted", 5, NOW + 7 days);
        (bytes[] memory signer, bytes memory signature) = cosign(1 << hospital, exchange.listMessage(kind, given));
        return abi.encodeCall(ResourceExchange.list, (kind, given, signer[0], signature));
    }

    function _promise(bytes32 id) private view returns (bytes memory) {
        ResourceExchange.Promise memory given =
            ResourceExchange.Promise(id, 1, 2, 2, NOW + 1 days, NOW + 2 days, "salted");
        (bytes[] memory signer, bytes memory signature) = cosign(1, exchange.promiseMessage(given));
        return abi.encodeCall(ResourceExchange.promiseTransfer, (given, signer[0], signature));
    }

    /// An offer, a request, and a promise that is not shipped yet.
    function _prepareExchange() private {
        exchange = new ResourceExchange(witnesses);
        _send(_listing(0, ResourceExchange.Kind.Offer, "a"));
        _send(_listing(1, ResourceExchange.Kind.Request, "b"));
        _send(_promise("first"));
        listing = _listing(0, ResourceExchange.Kind.Offer, "c");
        promising = _promise("second");
        (bytes[] memory signer, bytes memory signature) = cosign(1, exchange.stepMessage("ship", 1, nameOf(0), 0));
        shipping = abi.encodeCall(ResourceExchange.shipTransfer, (1, signer[0], signature));
    }

    function _reserved(bytes32 request) private view returns (bytes[] memory, bytes memory) {
        return cosign(7, budget.reserveMessage(request, "study", "cohort", hospitals, 10, address(this)));
    }

    /// A log of 1,001 leaves that grew to 2,002: neither is a power of two, so the proof is a long one.
    function _prepareAnchor() private {
        bytes32[] memory tree = ReferenceTree.leaves("gas", SECOND);
        bytes32 first = ReferenceTree.root(tree, 0, FIRST);
        bytes32[] memory none = new bytes32[](0);
        (bytes[] memory signers, bytes memory signed) = cosign(7, anchor.cosignedMessage("log", FIRST, first, NOW));
        anchor.anchor("log", FIRST, first, NOW, none, 7, signers, signed);
        root = ReferenceTree.root(tree, 0, SECOND);
        proof = ReferenceTree.proof(tree, FIRST, SECOND);
        (keys, aggregate) = cosign(7, anchor.cosignedMessage("log", SECOND, root, NOW));
    }
}
