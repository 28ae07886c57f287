"""The security lines, and of each file the quickest tests that must notice when one of them changes."""

from __future__ import annotations

from typing import Final

ACCESS: Final = "tests/unit/access/test_access.py"
TOGETHER: Final = "tests/integration/fhir/test_reads_together.py"
CONSENT: Final = "tests/unit/access/test_consent.py tests/unit/access/test_consent_entry.py " + ACCESS
ACCOUNTS: Final = "tests/unit/access/test_accounts.py tests/unit/access/test_account_events.py"
SIGN_INS: Final = "tests/unit/access/test_sessions.py tests/unit/access/test_second_factors.py"
SEALING: Final = "tests/unit/vault tests/integration/vault/test_vault.py"
SEGMENTS: Final = "tests/unit/vault tests/integration/vault/test_segments.py"
KEYS: Final = "tests/unit/vault/test_twin_keys.py tests/integration/vault/test_keyring.py"
COMPLETE: Final = (
    "tests/integration/audit/test_completeness.py"
    " --deselect tests/integration/audit/test_completeness.py::"
    "test_kill_9_while_publishing_leaves_a_map_that_is_the_logs"
)
EMERGENCIES: Final = (
    "tests/integration/node/test_emergencies.py"
    " --deselect tests/integration/node/test_emergencies.py::"
    "test_two_processes_at_once_open_no_more_than_one_and_each_end_is_logged_once"
)
MAP: Final = (
    "tests/unit/ledger/completeness --deselect tests/unit/ledger/completeness/test_map.py::"
    "test_every_map_is_the_textbook_one_and_proves_every_label"
)
FORMATS: Final = "tests/unit/ledger/formats"
TRUST: Final = "tests/unit/audit/proofs/test_trust.py tests/adversarial/ledger/test_twinward_verify.py"
MERKLE: Final = "tests/unit/ledger/test_merkle.py tests/properties/ledger/test_merkle_properties.py"
WITNESS: Final = "tests/integration/ledger/test_log_and_witness.py"
COSIGNING: Final = "tests/integration/ledger/test_cosigning.py tests/integration/ledger/test_anchor.py"
ANSWERS: Final = "tests/conformance/test_small_stores.py tests/adversarial/federation/test_unpaid_studies.py"
MASKS: Final = "tests/unit/federation/test_secure_aggregation.py"
RELEASE: Final = "tests/unit/similarity/test_release.py tests/properties/similarity/test_release_groups.py"
SUMS: Final = "tests/unit/federation/test_dp_sum.py tests/properties/federation/test_sums.py"
ROUNDS: Final = "tests/integration/federation/test_dropouts.py tests/adversarial/federation/test_two_survivor_sets.py"
THINGS: Final = "tests/integration/things/test_things.py tests/integration/things/test_wards.py"
EXCHANGE: Final = "tests/unit/exchange tests/integration/cli/test_exchange.py"
NDJSON: Final = "tests/properties/fhir/test_ndjson_lines.py tests/integration/fhir/test_ndjson.py"
HOURS: Final = "tests/properties/access/test_rules_of_hours_and_networks.py"
OUTBREAK: Final = "tests/integration/cli/test_outbreak.py"

WATCHED: Final[dict[str, str]] = {
    "platform/twinward/access/permits.py": f"{ACCESS} {HOURS}",
    "platform/twinward/access/service.py": f"{ACCESS} {TOGETHER}",
    "platform/twinward/access/policy.py": f"{ACCESS} tests/properties/access/test_policy_rules.py {HOURS}",
    "platform/twinward/access/hours.py": "tests/unit/access/test_hours_and_networks.py",
    "platform/twinward/access/networks.py": "tests/unit/access/test_hours_and_networks.py",
    "platform/twinward/access/consent.py": CONSENT,
    "platform/twinward/access/consent_entry.py": CONSENT,
    "platform/twinward/access/justification.py": "tests/unit/access/test_justification.py",
    "platform/twinward/access/passwords.py": "tests/unit/access/test_passwords.py",
    "platform/twinward/access/sessions.py": "tests/unit/access/test_sessions.py",
    "platform/twinward/access/sign_ins.py": f"{SIGN_INS} tests/unit/access/test_passkeys.py",
    "platform/twinward/access/sign_in_store.py": f"{SIGN_INS} tests/conformance/test_small_stores.py",
    "platform/twinward/access/client_assertions.py": "tests/unit/access/test_client_tokens.py",
    "platform/twinward/access/client_keys.py": "tests/unit/access/test_client_tokens.py",
    "platform/twinward/access/client_tokens.py": "tests/unit/access/test_client_tokens.py",
    "platform/twinward/access/scopes.py": "tests/unit/access/test_client_tokens.py",
    "platform/twinward/access/second_factors.py": SIGN_INS,
    "platform/twinward/access/totp.py": "tests/unit/access/test_totp.py",
    "platform/twinward/access/passkeys.py": "tests/unit/access/test_passkeys.py",
    "platform/twinward/access/challenges.py": "tests/unit/access/test_passkeys.py",
    "platform/twinward/access/account_events.py": ACCOUNTS,
    "platform/twinward/access/emergencies.py": EMERGENCIES,
    "platform/twinward/core/one_look.py": "tests/unit/core/test_one_look.py",
    "platform/twinward/twins/read/each.py": TOGETHER,
    "platform/twinward/core/sealed_rows.py": "tests/unit/core/test_sealed_rows.py",
    "platform/twinward/vault/records/sealer.py": SEALING,
    "platform/twinward/vault/segments/sealer.py": SEGMENTS,
    "platform/twinward/vault/segments/payload.py": "tests/unit/vault/test_payloads.py",
    "platform/twinward/fhir/bulk/observation_columns.py": NDJSON,
    "platform/twinward/fhir/bulk/observation_lines.py": NDJSON,
    "platform/twinward/api/http/fair_share.py": "tests/unit/api/http/test_fair_share.py",
    "platform/twinward/vault/keys/keyring.py": KEYS,
    "platform/twinward/vault/keys/twin_keys.py": KEYS,
    "platform/twinward/vault/keys/wrapped_keys.py": KEYS,
    "platform/twinward/vault/keys/rotation.py": KEYS,
    "platform/twinward/audit/proofs/verification.py": "tests/integration/audit/test_audit_trail.py",
    "platform/twinward/audit/proofs/completeness.py": COMPLETE,
    "platform/twinward/audit/proofs/trust.py": TRUST,
    "platform/twinward/federation/aggregation/answered_rounds.py": ANSWERS,
    "platform/twinward/federation/study_journal.py": "tests/conformance/test_small_stores.py",
    "platform/twinward/node/answers_begin.py": "tests/integration/node/test_answers_begin.py",
    "platform/twinward/federation/privacy/accountant.py": "tests/unit/federation/test_accountant.py",
    "platform/twinward/federation/privacy/discrete_gaussian.py": "tests/unit/federation/test_discrete_gaussian.py",
    "platform/twinward/federation/privacy/dp_sum.py": SUMS,
    "platform/twinward/federation/aggregation/sealing.py": "tests/adversarial/federation/test_two_survivor_sets.py",
    "platform/twinward/federation/aggregation/secure_aggregation.py": f"{MASKS} {SUMS}",
    "platform/twinward/federation/rounds.py": ROUNDS,
    "platform/twinward/things/relations.py": THINGS,
    "platform/twinward/things/interactions.py": THINGS,
    "platform/twinward/things/service.py": THINGS,
    "platform/twinward/things/wards.py": THINGS,
    "platform/twinward/things/suppression.py": THINGS,
    "platform/twinward/exchange/service.py": EXCHANGE,
    "platform/twinward/outbreak/alerts.py": OUTBREAK,
    "platform/twinward/outbreak/continual.py": "tests/properties/outbreak/test_continual.py",
    "platform/twinward/similarity/release/policy.py": RELEASE,
    "platform/twinward/similarity/release/history.py": "tests/unit/similarity/test_release_history.py",
    "crypto/twinward_crypto/envelope.py": "tests/unit/crypto_core/test_envelope.py",
    "crypto/twinward_crypto/hierarchy.py": "tests/unit/crypto_core/test_hierarchy.py",
    "crypto/twinward_crypto/secret_sharing.py": "tests/unit/crypto_core/test_secret_sharing.py",
    "crypto/twinward_crypto/disclosure.py": "tests/unit/crypto_core/test_disclosure.py",
    "crypto/twinward_crypto/commitment.py": "tests/unit/crypto_core/test_tags_and_commitments.py",
    "ledger/twinward_ledger/merkle.py": MERKLE,
    "ledger/twinward_ledger/completeness/tree.py": MAP,
    "ledger/twinward_ledger/proofs/verifier.py": "tests/integration/ledger/test_anchor.py",
    "ledger/twinward_ledger/proofs/bundle.py": "tests/integration/ledger/test_anchor.py",
    "ledger/twinward_ledger/proofs/report_verifier.py": COMPLETE,
    "ledger/twinward_ledger/formats/checkpoint.py": FORMATS,
    "ledger/twinward_ledger/formats/cosignature.py": FORMATS,
    "ledger/twinward_ledger/formats/note.py": FORMATS,
    "ledger/twinward_ledger/formats/policy.py": FORMATS,
    "ledger/twinward_ledger/formats/leaf.py": FORMATS,
    "ledger/twinward_ledger/witness/witness.py": WITNESS,
    "ledger/twinward_ledger/witness/cosigning.py": COSIGNING,
    "ledger/twinward_ledger/witness/evidence.py": WITNESS + " tests/properties/ledger/test_split_view_evidence.py",
}
