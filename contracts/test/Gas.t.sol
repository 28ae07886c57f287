// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AccessAnchor} from "../src/AccessAnchor.sol";
import {BreakGlass} from "../src/BreakGlass.sol";
import {BudgetLedger} from "../src/BudgetLedger.sol";
import {ConsentRegistry} from "../src/ConsentRegistry.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {ReferenceTree} from "./ReferenceTree.sol";
import {Witnesses} from "./Witnesses.sol";

/// What .gas-snapshot holds: one transaction of each kind, with everything that leads up to it done in `setUp`.
contract GasTest is Witnesses {
    uint64 private constant NOW = 1_767_225_600;
    uint64 private constant FIRST = 1001;
    uint64 private constant SECOND = 2002;

    AccessAnchor private anchor;
    BudgetLedger private budget;
    ConsentRegistry private consents;
    BreakGlass private glass;
    ModelRegistry private models;
    bytes32 private root;
    bytes32[] private proof;
    bytes[] private keys;
    bytes private aggregate;
    bytes private newcomer;
    bytes private possession;
    bytes32[] private hospitals;

    function setUp() public {
        vm.warp(NOW);
        deployWitnesses(3, 2);
        anchor = new AccessAnchor(witnesses);
        budget = new BudgetLedger(address(this), 1 days);
        consents = new ConsentRegistry(address(this));
        glass = new BreakGlass(address(this), 72 hours);
        models = new ModelRegistry(address(this));
        _prepareAnchor();
        (newcomer, possession) = (BlsSigner.publicKey(secretOf(9)), BlsSigner.provePossession(secretOf(9)));
        budget.grantQueries("vendor", 100);
        hospitals = [bytes32("a"), "b", "c"];
        for (uint256 i = 0; i < 3; ++i) {
            budget.capPrivacy(hospitals[i], "cohort", 1000);
        }
        budget.reserve("earlier", "study", "cohort", hospitals, 10);
        consents.grant("given");
        glass.declare("declared");
    }

    function test_anchorASecondCheckpointByThree() public {
        anchor.anchor("log", SECOND, root, NOW, proof, 7, keys, aggregate);
    }

    function test_registerAWitness() public {
        witnesses.register("newcomer", newcomer, possession);
    }

    function test_spendAQuery() public {
        budget.spendQueries("vendor", NOW / 1 days, 1, "request");
    }

    function test_reserveForThreeHospitals() public {
        budget.reserve("request", "study", "cohort", hospitals, 10);
    }

    function test_commitForThreeHospitals() public {
        budget.commit(1);
    }

    function test_grantAConsent() public {
        consents.grant("new");
    }

    function test_revokeAConsent() public {
        consents.revoke("given");
    }

    function test_declareAnEmergency() public {
        glass.declare("new");
    }

    function test_reviewAnEmergency() public {
        glass.review("declared", true, "report");
    }

    function test_registerAModel() public {
        models.register("study", "model", "card", 1_000_000, 10_000_000);
    }

    function test_deployTheWitnessSet() public {
        new WitnessSet(address(this));
    }

    function test_deployTheAnchor() public {
        new AccessAnchor(witnesses);
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
