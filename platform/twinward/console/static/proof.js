// What the officer's browser checks by itself: SHA-256, HMAC and Ed25519 by WebCrypto, RFC 6962 by the few lines below.
// Pure functions: no page, no network, no storage. Each throws unless what it is given is exactly right.
"use strict";

export const HASH_BYTES = 32;
const LEAF_BYTES = 38;                                  // twinward_ledger/formats/leaf.py
const EVENT_DOMAIN = "twinward/access-event/1";         // twinward_ledger/formats/leaf.py
const COMMITMENT_LABEL = "twinward/commitment/1";       // twinward_crypto/commitment.py
const KEY_ID_BYTES = 4, ED25519 = 1, SIGNATURE_BYTES = 64;

export const utf8 = (text) => new TextEncoder().encode(text);
export const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
export const base64Of = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
export const equal = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

export const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
export const leafHash = (leaf) => sha256(Uint8Array.of(0), leaf);          // RFC 6962, section 2.1
export const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

function requireHashes(hashes) {
  if (!hashes.every((hash) => hash.length === HASH_BYTES)) throw new Error("a hash has the wrong length");
}

// RFC 9162, section 2.1.3.2. Throws unless the path leads from the leaf to the root.
export async function verifyInclusion(index, size, leaf, path, root) {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) throw new Error("index is outside the tree");
  requireHashes([...path, root]);
  let fn = BigInt(index), sn = BigInt(size - 1), hash = await leafHash(leaf);
  for (const sibling of path) {
    if (sn === 0n) throw new Error("the path is too long");
    if ((fn & 1n) === 1n || fn === sn) {
      hash = await nodeHash(sibling, hash);
      while ((fn & 1n) === 0n && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    fn >>= 1n; sn >>= 1n;
  }
  if (sn !== 0n || !equal(hash, root)) throw new Error("the row is not under the signed root");
}

// RFC 9162, section 2.1.4.2. Throws unless the tree of `size1` leaves with `root1` is a prefix of the one of `size2`.
export async function verifyConsistency(size1, size2, path, root1, root2) {
  if (!Number.isSafeInteger(size1) || !Number.isSafeInteger(size2) || size1 < 1) throw new Error("the sizes are not tree sizes");
  if (size1 > size2) throw new Error("the log has shrunk");
  requireHashes([...path, root1, root2]);
  if (size1 === size2) {
    if (path.length || !equal(root1, root2)) throw new Error("the log shows another root for the same size");
    return;
  }
  let fn = BigInt(size1 - 1), sn = BigInt(size2 - 1);
  const nodes = [...path];
  if ((BigInt(size1) & BigInt(size1 - 1)) === 0n) nodes.unshift(root1);
  while ((fn & 1n) === 1n) { fn >>= 1n; sn >>= 1n; }
  if (!nodes.length) throw new Error("the path is empty");
  let old = nodes[0], now = nodes[0];
  for (const node of nodes.slice(1)) {
    if (sn === 0n) throw new Error("the path is too long");
    if ((fn & 1n) === 1n || fn === sn) {
      old = await nodeHash(node, old); now = await nodeHash(node, now);
      while ((fn & 1n) === 0n && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
    } else {
      now = await nodeHash(now, node);
    }
    fn >>= 1n; sn >>= 1n;
  }
  if (sn !== 0n || !equal(old, root1) || !equal(now, root2)) throw new Error("the log was rewritten");
}

// C2SP signed note and tlog-checkpoint: origin, size, root; blank line; signature lines. Throws unless `key` signed it.
export async function openCheckpoint(note, origin, key) {
  const split = note.lastIndexOf("\n\n");
  if (split < 0) throw new Error("the checkpoint is not a signed note");
  const body = note.slice(0, split + 1);
  const [name, size, root] = body.split("\n");
  if (name !== origin) throw new Error("the checkpoint is of another log");
  const id = (await sha256(utf8(`${origin}\n`), Uint8Array.of(ED25519), key)).slice(0, KEY_ID_BYTES);
  const signatures = note.slice(split + 2).split("\n")
    .filter((line) => line.startsWith(`\u2014 ${origin} `))
    .map((line) => bytesOf(line.slice(line.lastIndexOf(" ") + 1)))
    .filter((blob) => equal(blob.slice(0, KEY_ID_BYTES), id));
  if (signatures.length !== 1) throw new Error("the log has not signed the checkpoint");
  const signature = signatures[0].slice(KEY_ID_BYTES);
  if (signature.length !== SIGNATURE_BYTES) throw new Error("the log's signature has the wrong length");
  const publicKey = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  const good = await crypto.subtle.verify({ name: "Ed25519" }, publicKey, signature, utf8(body));
  if (!good) throw new Error("the log's signature does not fit the checkpoint");
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) throw new Error("the checkpoint's size is not a number");
  const rootBytes = bytesOf(root);
  requireHashes([rootBytes]);
  return { size: Number(size), root: rootBytes };
}

// Each part after its length as u32, big-endian.
export function prefixed(...parts) {
  return joined(...parts.map((part) => {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, part.length);
    return joined(length, part);
  }));
}

// twinward_crypto/commitment.py: HMAC-SHA256 over length-prefixed label, domain, salt and event. The leaf ends in it.
export async function verifyOpening(leaf, { key, salt, event }) {
  if (leaf.length !== LEAF_BYTES || leaf[0] !== 1) throw new Error("the leaf is not a leaf");
  const message = prefixed(utf8(COMMITMENT_LABEL), utf8(EVENT_DOMAIN), salt, event);
  const mac = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const good = await crypto.subtle.verify("HMAC", mac, leaf.slice(LEAF_BYTES - HASH_BYTES), message);
  if (!good) throw new Error("what this row says is not what the log committed to");
}
