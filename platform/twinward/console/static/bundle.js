// The same checks as the stand-alone twinward-verify, in the browser: a proof of one event (.tlog-proof) or a report of all
// accesses to one patient (.accesses.json) against a trust file. Formats: ledger/SPEC.md. Pure: no page, no network.
// WebCrypto has no BLS: the anchor's aggregate signature is not checked here, and the outcome says so.
"use strict";

import { base64Of, bytesOf, equal, joined, leafHash, nodeHash, prefixed, sha256, utf8, verifyInclusion, verifyOpening } from "./proof.js";

const ACCESS = 1, COMPLETENESS = 4, MAX_PATH = 63, MAX_SIGNATURES = 100;
const EMPTY_MAP = new Uint8Array(32);
const ED25519 = 1, COSIGNATURE = 4;

function require(condition, message) { if (!condition) throw new Error(message); }

// --- reading, strictly: every value has one spelling ----------------------------------------------------------------

function textOf(bytes) { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes); }

function unbase64(text, size) {
  require(typeof text === "string" && /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0, "not base64");
  const bytes = bytesOf(text);
  require(base64Of(bytes) === text, "not canonical base64");
  require(size === undefined || bytes.length === size, `a value is not ${size} bytes`);
  return bytes;
}

function unhex(text, size) {
  require(typeof text === "string" && /^([0-9a-f]{2})*$/.test(text) && text.length === 2 * size, "not hexadecimal of the right length");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function big(text, bits = 63n) {
  require(typeof text === "string" && /^(0|[1-9][0-9]{0,77})$/.test(text), "not a decimal number");
  require(BigInt(text) < 1n << bits, "a number is out of range");
  return BigInt(text);
}

// Sizes and indices: a log of 2**53 entries would take this browser longer to read than it will live.
function whole(text) {
  const value = Number(big(text));
  require(Number.isSafeInteger(value), "a number is out of range");
  return value;
}

function fields(value, ...names) {
  const object = typeof value === "object" && value !== null && !Array.isArray(value);
  require(object && Object.keys(value).length === names.length && names.every((name) => Object.hasOwn(value, name)), `not an object of ${names.join(", ")}`);
  return names.map((name) => value[name]);
}

function list(value, most) { require(Array.isArray(value) && value.length <= most, "a list is missing or too long"); return value; }

// RFC 8785, which is how JSON.stringify writes once names are in order.
function canonical(value) {
  const sorted = (one) => {
    if (Array.isArray(one)) return one.map(sorted);
    if (typeof one !== "object" || one === null) return one;
    return Object.fromEntries(Object.keys(one).sort().map((name) => [name, sorted(one[name])]));
  };
  return utf8(JSON.stringify(sorted(value)));
}

function fromCanonical(bytes) {
  const value = JSON.parse(textOf(bytes));
  require(equal(canonical(value), bytes), "not canonical JSON");
  return value;
}

const u64 = (value) => { const bytes = new Uint8Array(8); new DataView(bytes.buffer).setBigUint64(0, BigInt(value)); return bytes; };
const number64 = (bytes, at) => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at);

async function treeRoot(hashes) {
  if (!hashes.length) return sha256();
  let level = hashes;
  while (level.length > 1) {
    const above = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(await nodeHash(level[i], level[i + 1]));
    level = level.length % 2 ? [...above, level[level.length - 1]] : above;
  }
  return level[0];
}

// --- whom to believe ------------------------------------------------------------------------------------------------

async function key(text, algorithm) {
  const [name, id, encoded] = [text.split("+", 2)[0], text.split("+", 2)[1], text.split("+").slice(2).join("+")];
  const material = unbase64(encoded, 33);
  const made = (await sha256(utf8(`${name}\n`), material)).slice(0, 4);
  require(material[0] === algorithm && equal(made, unhex(id, 4)), "a key of the trust file is malformed");
  return { name, id, public: material.slice(1) };
}

export async function readTrust(bytes) {
  const told = JSON.parse(textOf(bytes));
  require(typeof told === "object" && told !== null && typeof told.log === "string" && Array.isArray(told.witnesses), "not a trust file");
  const witnesses = await Promise.all(told.witnesses.map((text) => key(text, COSIGNATURE)));
  const distinct = [...new Map(witnesses.map((one) => [base64Of(one.public), one])).values()];
  require(Number.isInteger(told.quorum) && told.quorum >= 1, "a quorum is at least 1");
  const log = await key(told.log, ED25519), earlier = [];
  for (const one of told.earlier ?? []) earlier.push({ key: await key(one.log, ED25519), until: one.until });
  const logs = [...earlier, { key: log, until: Number.MAX_SAFE_INTEGER }];
  const known = new Set(logs.map((one) => base64Of(one.key.public)));
  const follows = logs.every((one, at) => Number.isSafeInteger(one.until) && one.until > (at ? logs[at - 1].until : 0) && one.key.name === log.name);
  require(follows && known.size === logs.length, "the log's keys of the trust file cannot have followed one another");
  return { log, logs, witnesses: distinct, quorum: told.quorum, blsKeys: told.bls_keys ?? [], chain: told.chain_id ?? null, contract: told.contract ?? null };
}

async function checkSignature(who, message, signature, what) {
  const publicKey = await crypto.subtle.importKey("raw", who.public, { name: "Ed25519" }, false, ["verify"]);
  require(await crypto.subtle.verify({ name: "Ed25519" }, publicKey, signature, message), `${what} does not verify`);
}

// --- the checkpoint and its signatures ------------------------------------------------------------------------------

function readSignatures(lines) {
  require(lines.length > 0 && lines.length <= MAX_SIGNATURES, "the checkpoint has no signatures, or too many");
  const found = new Map();
  for (const line of lines) {
    const match = /^\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)$/.exec(line);
    require(match, "a signature line is malformed");
    const blob = unbase64(match[2]), place = `${match[1]} ${Array.from(blob.slice(0, 4))}`;
    require(blob.length > 4 && !found.has(place), "a signature line is malformed, or there twice");
    found.set(place, blob.slice(4));
  }
  return found;
}

async function openCosigned(bytes, trust) {
  require(bytes.length <= 256 << 10 && !bytes.some((byte) => byte < 32 && byte !== 10), "the checkpoint is not a signed note");
  const note = textOf(bytes), at = note.lastIndexOf("\n\n");
  require(at > 0 && note.endsWith("\n"), "the checkpoint is not a signed note");
  const text = note.slice(0, at + 1), lines = text.split("\n").slice(0, -1);
  require(lines.length >= 3 && lines.every((line) => line), "the checkpoint is malformed");
  const [origin, size, root] = [lines[0], whole(lines[1]), unbase64(lines[2], 32)];
  require(size > 0, "the log is empty");
  require(origin === trust.log.name, `this is of the log ${origin}, not of ${trust.log.name}`);
  const signatures = readSignatures(note.slice(at + 2).split("\n").slice(0, -1));
  const of = (who) => signatures.get(`${who.name} ${Array.from(unhex(who.id, 4))}`);
  const signed = trust.logs.map((one, at) => at).filter((at) => of(trust.logs[at].key));
  require(signed.length, "the log has not signed the checkpoint");
  for (const at of signed) {
    const own = of(trust.logs[at].key);
    require(own.length === 64, "the log has not signed the checkpoint");
    await checkSignature(trust.logs[at].key, utf8(text), own, "the log's signature");
  }
  const newest = signed[signed.length - 1], since = newest ? trust.logs[newest - 1].until : 0;
  require(size >= since, `signed with a key that the log uses from size ${since} on only`);
  require(size <= trust.logs[newest].until, `signed with a key that the log replaced at size ${trust.logs[newest].until}`);
  const sealers = trust.logs.slice(newest).map((one) => one.key);
  const cosigned = [];
  for (const witness of trust.witnesses) {
    const blob = of(witness);
    if (!blob) continue;
    require(blob.length === 72, "a cosignature of a wrong length");
    const time = number64(blob, 0);
    await checkSignature(witness, utf8(`cosignature/v1\ntime ${time}\n${text}`), blob.slice(8), `the cosignature of ${witness.name}`);
    cosigned.push({ name: witness.name, time: Number(time) });
  }
  require(cosigned.length >= trust.quorum, `${cosigned.length} witnesses cosigned, ${trust.quorum} are needed`);
  return { origin, size, root, cosigned, sealers };
}

function checkAnchor(anchor, checkpoint, trust) {
  if (anchor === null) return "not anchored when it was exported";
  const [chain, contract, epoch, origin, size, root, time, bitmap, signers, aggregate, block, transaction] = fields(
    anchor, "chain", "contract", "epoch", "origin", "size", "root", "time", "bitmap", "signers", "aggregate", "block", "transaction");
  [[chain, 256n], [epoch, 64n], [time], [bitmap, 256n]].forEach(([text, bits]) => big(text, bits));
  const keys = list(signers, 64);
  [...keys.map((text) => [text, 48]), [contract, 20], [aggregate, 96], [transaction, transaction ? 32 : 0]].forEach(([text, length]) => unhex(text, length));
  require(origin === checkpoint.origin && whole(size) === checkpoint.size && equal(unhex(root, 32), checkpoint.root), "the anchor is of another checkpoint");
  require(trust.chain === null || BigInt(trust.chain) === BigInt(chain), "the anchor is on another chain");
  require(trust.contract === null || trust.contract === contract, "the anchor is on another contract");
  require(new Set(keys).size === keys.length && keys.every((text) => trust.blsKeys.includes(text)), "the anchor is signed by keys that are not the witnesses'");
  require(keys.length >= trust.quorum, "too few witnesses signed the anchor");
  return `chain ${chain}, block ${block === null ? "unknown" : whole(block)}; a browser cannot check its BLS signature`;
}

// --- leaves, events, the map ----------------------------------------------------------------------------------------

async function checkPlace([index, leaf, path], checkpoint, what) {
  const at = whole(index), bytes = unbase64(leaf, 38);
  require(bytes[0] === 1 && bytes[1] >= 1 && bytes[1] <= 4, `${what}: the leaf is malformed`);
  const nodes = list(path, MAX_PATH).map((node) => unbase64(node, 32));
  try { await verifyInclusion(at, checkpoint.size, bytes, nodes, checkpoint.root); } catch { throw new Error(`${what} is not in the log`); }
  return { index: at, leaf: bytes, kind: bytes[1], minute: new DataView(bytes.buffer).getUint32(2) };
}

async function checkOpening(opening, leaf, what) {
  if (opening === null) return null;
  const [mac, salt, event] = fields(opening, "key", "salt", "event");
  const opened = { key: unbase64(mac, 32), salt: unbase64(salt, 32), event: unbase64(event) };
  try { await verifyOpening(leaf, opened); } catch { throw new Error(`${what}: its leaf commits to another event`); }
  return JSON.parse(textOf(opened.event));
}

const bit = (label, depth) => (label[depth >> 3] >> (7 - (depth & 7))) & 1;

async function startOfPath(label, count, root, near, depth) {
  if (count > 0n) {
    require(near === null, "a patient who is in the map needs no neighbour");
    return sha256(Uint8Array.of(2), label, root, u64(count));
  }
  require(equal(root, await sha256()), "no rows have one root only");
  if (near === null) return EMPTY_MAP;
  const [toldLabel, toldRoot, toldCount] = fields(near, "label", "root", "count");
  const [other, otherRoot, otherCount] = [unbase64(toldLabel, 32), unbase64(toldRoot, 32), big(toldCount)];
  const shared = Array.from({ length: depth }, (_, level) => bit(label, level) === bit(other, level)).every(Boolean);
  require(otherCount > 0n && !equal(other, label) && shared, "the neighbour does not stand there");
  return sha256(Uint8Array.of(2), other, otherRoot, u64(otherCount));
}

async function checkMap(report, head, origin) {
  const labelKey = unbase64(report.label_key, 32), subject = report.subject;
  require(typeof subject === "string" && utf8(subject).length > 0 && utf8(subject).length <= 64, "the subject is no subject");
  require(equal(await sha256(utf8("twinward/completeness-key/1"), labelKey), head.slice(49, 81)), "another label key than the log committed to");
  const mac = await crypto.subtle.importKey("raw", labelKey, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const label = new Uint8Array(await crypto.subtle.sign("HMAC", mac, prefixed(utf8("twinward/completeness-label/1"), utf8(origin), utf8(subject))));
  const [toldCount, toldRoot, toldPath, near] = fields(report.map, "count", "root", "path", "neighbour");
  const count = big(toldCount), root = unbase64(toldRoot, 32);
  const path = list(toldPath, 256).map((step) => fields(step, "hash", "sum")).map(([hash, sum]) => [unbase64(hash, 32), big(sum)]);
  let node = await startOfPath(label, count, root, near, path.length);
  let sum = count > 0n ? count : near === null ? 0n : big(near.count);
  require(sum === 0n || !path.length || !equal(path[0][0], EMPTY_MAP), "a leaf of the map stands deeper than it must");
  for (let level = 0; level < path.length; level += 1) {
    const [sibling, beside] = path[level];
    require(equal(sibling, EMPTY_MAP) === (beside === 0n), "a sum in the map does not fit");
    const right = bit(label, path.length - 1 - level);
    const pair = right ? [sibling, u64(beside), node, u64(sum)] : [node, u64(sum), sibling, u64(beside)];
    node = await sha256(Uint8Array.of(3), ...pair);
    sum += beside;
    require(sum < 1n << 63n, "the map's counts overflow");
  }
  require(sum === number64(head, 9), "the map's path sums up to another number of rows than its head counts");
  require(equal(node, head.slice(17, 49)), "this is not the patient's entry in the completeness map");
  return { count, root };
}

// --- the two kinds of files -----------------------------------------------------------------------------------------

async function checkSeal(unsealed, seal, sealers) {
  const message = joined(utf8("twinward/export-seal/1\n"), unsealed), signature = unbase64(seal, 64);
  const what = "the seal: the file was changed after the hospital handed it out, or it";
  for (const one of sealers.slice(0, -1)) {
    try { return await checkSignature(one, message, signature, what); } catch { /* a later key may have sealed it */ }
  }
  return checkSignature(sealers[sealers.length - 1], message, signature, what);
}

async function checkProof(bytes, trust) {
  const at = bytes.findIndex((byte, i) => byte === 10 && bytes[i + 1] === 10);
  require(at > 0, "not a proof of an event");
  const lines = textOf(bytes.slice(0, at)).split("\n"), note = bytes.slice(at + 2);
  require(lines.length >= 3 && lines.length <= 3 + MAX_PATH && lines[1].startsWith("extra ") && lines[2].startsWith("index "), "not a proof of an event");
  const extra = fromCanonical(unbase64(lines[1].slice(6)));
  const [version, leaf, anchor, opening, seal] = fields(extra, "version", "leaf", "anchor", "opening", "seal");
  require(version === 2, "a proof of another version");
  const checkpoint = await openCosigned(note, trust);
  const anchored = checkAnchor(anchor, checkpoint, trust);
  const place = await checkPlace([lines[2].slice(6), leaf, lines.slice(3)], checkpoint, "the event");
  const event = await checkOpening(opening, place.leaf, "the event");
  const unsealed = [lines[0], `extra ${base64Of(canonical({ ...extra, seal: null }))}`, ...lines.slice(2), "", ""].join("\n");
  await checkSeal(joined(utf8(unsealed), note), seal, checkpoint.sealers);
  return { kind: "proof", checkpoint, anchor: anchored, rows: [{ ...place, event }] };
}

async function checkRows(told, subject, through, checkpoint, proven) {
  const rows = told.map((row) => fields(row, "index", "leaf", "path", "opening"));
  rows.slice(1).forEach(([index], before) => {
    require(index !== rows[before][0], `row ${index} is there twice`);
    require(big(rows[before][0]) < big(index), `row ${index} is out of order`);
  });
  const verb = BigInt(rows.length) < proven.count ? "left out" : "added";
  require(BigInt(rows.length) === proven.count, `the log counts ${proven.count} accesses, the report shows ${rows.length}: rows were ${verb}`);
  const shown = [], entries = [];
  for (const [index, leaf, path, opening] of rows) {
    const place = await checkPlace([index, leaf, path], checkpoint, `row ${index}`);
    require(place.index < through, `row ${index} was logged after the completeness map`);
    require(place.kind === ACCESS, `row ${index} is no access to a patient`);
    const event = await checkOpening(opening, place.leaf, `row ${index}`);
    require(event === null || event.entity?.[0]?.what?.identifier?.value === subject, `row ${index} is about somebody else`);
    shown.push({ ...place, event });
    entries.push(await leafHash(joined(u64(place.index), await leafHash(place.leaf))));
  }
  require(equal(await treeRoot(entries), proven.root), "the rows are not this patient's: one was exchanged for another");
  return shown;
}

async function checkReport(bytes, trust) {
  const report = fromCanonical(bytes);
  fields(report, "format", "origin", "subject", "label_key", "head", "head_place", "map", "rows", "checkpoint", "anchor", "seal");
  require(report.format === "twinward/accesses/1" && typeof report.checkpoint === "string", "a report of another version");
  const checkpoint = await openCosigned(utf8(report.checkpoint), trust);
  require(report.origin === checkpoint.origin, "the report names another log than its checkpoint");
  const anchor = checkAnchor(report.anchor, checkpoint, trust);
  const head = unbase64(report.head, 81), place = await checkPlace(fields(report.head_place, "index", "leaf", "path"), checkpoint, "the completeness map");
  const committed = await sha256(utf8("twinward/completeness-head/1"), head);
  require(head[0] === 1 && place.kind === COMPLETENESS && equal(committed, place.leaf.slice(6)), "another completeness map than the log's");
  const through = Number(number64(head, 1));
  require(through <= place.index, "the completeness map covers entries that were logged after it");
  const proven = await checkMap(report, head, checkpoint.origin);
  const rows = await checkRows(list(report.rows, 200000), report.subject, through, checkpoint, proven);
  await checkSeal(canonical({ ...report, seal: null }), report.seal, checkpoint.sealers);
  return { kind: "report", checkpoint, anchor, subject: report.subject, through, minute: place.minute, rows };
}

// Resolves to what was proven; rejects with what is wrong.
export async function verifyFile(bytes, trust) {
  const proof = utf8("c2sp.org/tlog-proof@v1\n");
  if (bytes.length >= proof.length && equal(bytes.slice(0, proof.length), proof)) return checkProof(bytes, trust);
  if (bytes[0] === 0x7b) return checkReport(bytes, trust);
  throw new Error("neither a proof of an event nor a report of a patient's accesses");
}
