// The officer's own browser checks each row: SHA-256 and Ed25519 by WebCrypto, RFC 6962 by the few lines below.
// Nothing here asks the server whether a row is right; the server only hands over the leaf, the path and the checkpoint.
"use strict";

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const equal = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

async function sha256(...parts) {
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

const leafHash = (leaf) => sha256(Uint8Array.of(0), leaf);          // RFC 6962, section 2.1
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

// RFC 9162, section 2.1.3.2. Throws unless the path leads from the leaf to the root.
export async function verifyInclusion(index, size, leaf, path, root) {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) throw new Error("index is outside the tree");
  let fn = BigInt(index), sn = BigInt(size - 1), hash = await leafHash(leaf);
  for (const sibling of path) {
    if (sibling.length !== 32 || sn === 0n) throw new Error("the path has the wrong shape");
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

// C2SP signed note: body, blank line, signature lines. Returns size and root after checking the log's own signature.
export async function openCheckpoint(note, origin, key) {
  const split = note.indexOf("\n\n");
  if (split < 0) throw new Error("the checkpoint is not a signed note");
  const body = note.slice(0, split + 1);
  const [name, size, root] = body.split("\n");
  if (name !== origin) throw new Error("the checkpoint is of another log");
  const line = note.slice(split + 2).split("\n").find((l) => l.startsWith(`\u2014 ${origin} `));
  if (!line) throw new Error("the log has not signed the checkpoint");
  const signature = bytesOf(line.slice(line.lastIndexOf(" ") + 1)).slice(4);
  const publicKey = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  const good = await crypto.subtle.verify({ name: "Ed25519" }, publicKey, signature, new TextEncoder().encode(body));
  if (!good) throw new Error("the log's signature does not fit the checkpoint");
  return { size: Number(size), root: bytesOf(root) };
}

async function verifyRow(badge) {
  const answer = await fetch(badge.dataset.proof, { credentials: "same-origin", headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error("the server gave no proof");
  const proof = await answer.json();
  const page = document.body.dataset;
  const checkpoint = await openCheckpoint(proof.checkpoint, page.origin, bytesOf(page.logKey));
  const path = proof.path.map(bytesOf);
  await verifyInclusion(Number(badge.dataset.index), checkpoint.size, bytesOf(proof.leaf), path, checkpoint.root);
}

function show(badge, kind, text, title) {
  badge.className = `badge ${kind}`;
  badge.textContent = text;
  badge.title = title;
}

export async function verifyPage() {
  const badges = [...document.querySelectorAll("[data-proof]")];
  let good = 0, bad = 0, waiting = 0;
  for (const badge of badges) {
    if (badge.dataset.sealed === "no") { waiting += 1; show(badge, "warn", "not signed yet", "newer than the newest signed checkpoint"); continue; }
    try { await verifyRow(badge); good += 1; show(badge, "good", "✓ proven", "your browser checked leaf, path and signature"); }
    catch (error) { bad += 1; show(badge, "bad", "✗ refused", String(error.message || error)); }
  }
  const summary = document.querySelector("#verified");
  if (summary) {
    summary.textContent = bad ? `${bad} of ${badges.length} rows do NOT verify` : `${good} rows proven by this browser` + (waiting ? `, ${waiting} wait for the next checkpoint` : "");
    summary.className = `badge ${bad ? "bad" : waiting ? "warn" : "good"}`;
  }
  return { good, bad, waiting };
}

// RFC 9162, section 2.1.4.2. Throws unless the tree of `size1` leaves with `root1` is a prefix of the one of `size2`.
export async function verifyConsistency(size1, size2, path, root1, root2) {
  if (!(size1 > 0 && size1 <= size2)) throw new Error("the log has shrunk");
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
    if (node.length !== 32 || sn === 0n) throw new Error("the path has the wrong shape");
    if ((fn & 1n) === 1n || fn === sn) {
      old = await nodeHash(node, old); now = await nodeHash(node, now);
      while ((fn & 1n) === 0n && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
    } else {
      now = await nodeHash(now, node);
    }
    fn >>= 1n; sn >>= 1n;
  }
  if (sn !== 0n || !equal(old, root1) || !equal(now, root2)) throw new Error("the log was rewritten since this browser saw it last");
}

const base64Of = (bytes) => btoa(String.fromCharCode(...bytes));

// What this browser saw last is kept in this browser: the server cannot make it forget.
export async function verifyGrowth(line) {
  const page = document.body.dataset, slot = `twinward:${page.origin}:${page.logKey}`;
  const seen = JSON.parse(localStorage.getItem(slot) || "null");
  const answer = await fetch(`${line.dataset.consistency}?old=${seen ? seen.size : 1}`, { credentials: "same-origin" });
  if (!answer.ok && !seen) return ["warn", "…", "nothing is signed yet that this browser could remember"];
  if (!answer.ok) throw new Error(`this browser saw ${seen.size} signed events, the server shows fewer`);
  const told = await answer.json();
  const now = await openCheckpoint(told.checkpoint, page.origin, bytesOf(page.logKey));
  if (seen) await verifyConsistency(seen.size, now.size, told.path.map(bytesOf), bytesOf(seen.root), now.root);
  localStorage.setItem(slot, JSON.stringify({ size: now.size, root: base64Of(now.root) }));
  const first = `this browser now remembers the log at ${now.size} events and will check that it only grows`;
  return ["good", "✓", seen ? `append-only: this browser checked that the ${seen.size} events it saw last are the first of today's ${now.size}` : first];
}

async function showGrowth(line) {
  const sign = document.querySelector("#append-only-sign");
  let kind, mark, say;
  try { [kind, mark, say] = await verifyGrowth(line); }
  catch (error) { [kind, mark, say] = ["bad", "✗", `NOT append-only: ${error.message || error}`]; }
  sign.className = `tick ${kind}`;
  sign.textContent = mark;
  line.textContent = say;
  line.dataset.checked = kind;
}

if (document.querySelector("[data-proof]")) verifyPage();
const growth = document.querySelector("[data-consistency]");
if (growth) showGrowth(growth);
