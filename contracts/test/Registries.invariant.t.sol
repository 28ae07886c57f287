// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BreakGlass} from "../src/BreakGlass.sol";
import {BudgetLedger} from "../src/BudgetLedger.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {WitnessSet} from "../src/WitnessSet.sol";
import {Cheats} from "./Cheats.sol";

/// A hospital writes what it likes, in any order; the handler keeps its own, plain books.
contract RegistriesHandler is Cheats {
    uint256 public constant NAMES = 8;

    WitnessSet private _set = new WitnessSet(address(this), 1 days);
    BreakGlass public glass = new BreakGlass(_set, address(this), 1 hours);
    ModelRegistry public models = new ModelRegistry(new BudgetLedger(_set, address(this), 1 days), address(this));

    mapping(uint256 name => uint256) public declaredAt;
    mapping(uint256 name => bool) public reviewed;
    mapping(bytes32 model => uint256) public numberOf;
    uint256 public registered;

    constructor() {
        vm.warp(1_767_225_600);
    }

    function declare(uint256 name) external {
        name %= NAMES;
        try glass.declare(bytes32(name)) {
            require(declaredAt[name] == 0, "declared");
            declaredAt[name] = block.timestamp;
        } catch {}
    }

    function review(uint256 name, bool justified) external {
        name %= NAMES;
        try glass.review(bytes32(name), justified, "report") {
            require(declaredAt[name] != 0 && !reviewed[name], "reviewed");
            reviewed[name] = true;
        } catch {}
    }

    function enter(uint256 name) external {
        bytes32 model = bytes32(1 + name % NAMES);
        try models.carryModel("study", model, "card", 1, 0) returns (uint256 number) {
            require(numberOf[model] == 0, "entered");
            numberOf[model] = number;
            ++registered;
        } catch {}
    }

    function wait_(uint256 time) external {
        vm.warp(block.timestamp + time % 2 hours);
    }
}

contract RegistriesInvariantTest {
    RegistriesHandler private _handler;

    function setUp() public {
        _handler = new RegistriesHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// Overdue is exactly what was declared more than an hour ago and never reviewed.
    function invariant_noEmergencyIsForgotten() public view {
        bytes32[] memory late = _handler.glass().overdue(0, 100);
        (uint256 open, uint256 overdue, uint256 seen) = (0, 0, 0);
        for (uint256 name = 0; name < _handler.NAMES(); ++name) {
            uint256 since = _handler.declaredAt(name);
            if (since == 0 || _handler.reviewed(name)) continue;
            ++open;
            if (block.timestamp > since + 1 hours) ++overdue;
        }
        for (uint256 i = 0; i < late.length; ++i) {
            uint256 bit = 1 << uint256(late[i]);
            require(seen & bit == 0, "twice");
            seen |= bit;
            require(!_handler.reviewed(uint256(late[i])), "reviewed");
        }
        require(_handler.glass().openCount() == open && late.length == overdue, "count");
    }

    /// Models are numbered from one without a gap, and each once.
    function invariant_modelsAreNumberedWithoutGaps() public view {
        uint256 count = _handler.models().count();
        require(count == _handler.registered(), "count");
        for (uint256 number = 1; number <= count; ++number) {
            require(_handler.numberOf(_handler.models().model(number).modelHash) == number, "number");
        }
    }
}
