// A vendor without Twinward: the plain HTTP protocol, in one file that stands on Node alone. It checks the hospital's
// signatures, encrypts criteria, has them counted, and reads the count: node vendor.mjs, with BASE and TOKEN in the
// environment. Each step asserts what it was answered; its name is printed once it held. Bytes: crypto/SPEC.md.
import assert from 'node:assert/strict';
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';

const { BASE, TOKEN, FROM = '30' } = process.env;
const PREFIX = '/api/1/similarity';

const sha256 = (...parts) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

// RFC 8785: sorted members, ECMAScript's own numbers and strings.
const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(',')}}`;
};

// A connection that idled while this computed may be closed at the other end: the same bytes again cost nothing.
const sent = (url, options) => fetch(url, options).catch((error) => {
  if (error.cause?.code === 'UND_ERR_SOCKET' || error.cause?.code === 'ECONNRESET') return fetch(url, options);
  throw error;
});
const exchange = async (method, path, message) => {
  const headers = { Authorization: `Bearer ${TOKEN}` };
  if (message) headers['Content-Type'] = 'application/json';
  const answer = await sent(BASE + PREFIX + path, { method, headers, body: message && JSON.stringify(message) });
  const told = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(told));
  return told;
};

// SPEC.md, "Signed answers": whose an answer is, and what it answers.
const digestOf = (kind, query) => sha256('twinward/similarity/query/1\0', kind, '\0', canonical(query)).toString('hex');
const requireSigned = (kind, answer, key, query) => {
  const { proof, ...reply } = answer;
  assert.equal(proof.key, key);
  assert.equal(proof.query, query ? digestOf(kind, query) : '');
  assert.equal(proof.query_id, query?.query_id ?? '');
  const { query: digest, query_id, vendor, binding } = proof;
  const signed = canonical({ kind, query_id, query: digest, vendor, binding, reply });
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(key, 'hex')]); // RFC 8410
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  assert.ok(verify(null, Buffer.from(`twinward/similarity/answer/1\0${signed}`), publicKey, Buffer.from(proof.signature, 'hex')));
  return reply;
};

// RFC 8032, section 5.1: edwards25519 in extended coordinates. Not in constant time: fit to show a protocol by.
const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const mod = (value) => ((value % P) + P) % P;
const power = (base, exponent) => {
  let [result, square] = [1n, mod(base)];
  for (let bits = exponent; bits; bits >>= 1n) {
    if (bits & 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
};
const D = mod(-121665n * power(121666n, P - 2n));
const NEUTRAL = [0n, 1n, 1n, 0n];
const add = ([x1, y1, z1, t1], [x2, y2, z2, t2]) => {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * t1 * t2 * D);
  const d = mod(2n * z1 * z2);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
};
const doublings = (point) => {
  const found = [point];
  while (found.length < 253) found.push(add(found.at(-1), found.at(-1)));
  return found;
};
const multiply = (scalar, powers) => {
  let result = NEUTRAL;
  for (let bits = scalar, place = 0; bits; bits >>= 1n, place += 1) if (bits & 1n) result = add(result, powers[place]);
  return result;
};
const little = (number) => Buffer.from(number.toString(16).padStart(64, '0'), 'hex').reverse();
const number = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
const encode = ([x, y, z]) => {
  const inverse = power(z, P - 2n);
  return little(mod(y * inverse) | ((mod(x * inverse) & 1n) << 255n));
};
const decode = (bytes) => {
  const [y, sign] = [number(bytes) & (2n ** 255n - 1n), number(bytes) >> 255n];
  const square = mod((y * y - 1n) * power(D * y * y + 1n, P - 2n));
  let x = power(square, (P + 3n) / 8n);
  if (mod(x * x) !== square) x = mod(x * power(2n, (P - 1n) / 4n));
  assert.equal(mod(x * x), square, 'not on the curve');
  if ((x & 1n) !== sign) x = mod(-x);
  return [x, y, 1n, mod(x * y)];
};
const BASE_POWERS = doublings(decode(Buffer.from('5866666666666666666666666666666666666666666666666666666666666666', 'hex')));
const randomScalar = () => number(randomBytes(64)) % ORDER;

// SPEC.md, "Feasibility queries and answers".
const encrypted = (costs, binding, secret) => {
  const publicPoint = multiply(secret, BASE_POWERS);
  const pairs = costs.flat().map((cost) => {
    const blind = randomScalar();
    const other = (blind * secret + BigInt(cost)) % ORDER; // aP + mG
    return Buffer.concat([encode(multiply(blind, BASE_POWERS)), encode(multiply(other, BASE_POWERS))]);
  });
  const head = Buffer.alloc(8);
  head.write('TWFQ');
  head[4] = 1;
  head[5] = 1; // T: a cost of 0 matches
  head.writeUInt16LE(costs.length, 6);
  const levels = Buffer.alloc(2 * costs.length);
  costs.forEach((some, place) => levels.writeUInt16LE(some.length, 2 * place));
  return Buffer.concat([head, binding, encode(publicPoint), levels, ...pairs]);
};
const matching = (answer, slots, binding, secret) => {
  assert.equal(answer.subarray(0, 4).toString(), 'TWFA');
  assert.equal(answer.readUInt32LE(8), slots);
  assert.deepEqual(answer.subarray(12, 44), binding);
  assert.equal(answer.length, 44 + 40 * slots);
  let found = 0;
  for (let at = 44; at < answer.length; at += 40) {
    const shared = encode(multiply(secret, doublings(decode(answer.subarray(at, at + 32)))));
    if (shared.subarray(0, 8).equals(answer.subarray(at + 32, at + 40))) found += 1;
  }
  return found;
};

const steps = {
  async terms(told) {
    const answer = await exchange('GET', '/schema');
    told.key = answer.proof.key; // compare it with what the hospital says: `twinward similarity key`
    told.terms = requireSigned('terms', answer, told.key);
    told.binding = Buffer.from(answer.proof.binding, 'hex');
    const name = Buffer.from(told.terms.hospital);
    const [size, epoch] = [Buffer.alloc(4), Buffer.alloc(8)];
    size.writeUInt32BE(name.length);
    epoch.writeBigUInt64BE(BigInt(told.terms.epoch));
    const fingerprint = Buffer.from(told.terms.fingerprint, 'hex');
    assert.deepEqual(told.binding, sha256('twinward/similarity/binding/v1', size, name, fingerprint, epoch));
  },

  async 'what-may-be-counted'(told) {
    const answer = await exchange('GET', '/feasibility');
    told.counts = requireSigned('feasibility-terms', answer, told.key);
    assert.ok(told.counts.epsilon_millis.length > 0 && told.counts.left_millis > 0);
    const list = JSON.stringify(told.counts.code_list);
    told.binding = sha256('twinward/feasibility/binding/v1\0', told.binding, sha256(list));
  },

  async encrypt(told) {
    const { levels, features } = told.terms.feature_schema;
    const costs = features.map(() => Array(levels + 1).fill(0)); // the last level: not known
    for (const _ of told.counts.code_list.features) costs.push(Array(4).fill(0));
    const place = features.findIndex((one) => one.name === 'age');
    const { low, high } = features[place];
    const from = Math.floor(((Number(FROM) - low) / (high - low)) * (levels - 1) + 0.5);
    costs[place] = costs[place].map((_, level) => (level < from || level === levels ? 1 : 0));
    told.secret = randomScalar();
    told.question = {
      epoch: told.terms.epoch,
      epsilon_millis: told.counts.epsilon_millis.at(-1),
      bundle: encrypted(costs, told.binding, told.secret).toString('base64'),
      query_id: randomBytes(16).toString('hex'),
    };
  },

  async count(told) {
    told.answer = await exchange('POST', '/feasibility', told.question);
    const reply = requireSigned('feasibility', told.answer, told.key, told.question);
    assert.equal(reply.slots, told.counts.rows + 2 * reply.bound);
    const found = matching(Buffer.from(reply.bundle, 'base64'), reply.slots, told.binding, told.secret);
    told.count = found - reply.bound; // with noise
  },

  async again(told) {
    assert.deepEqual(await exchange('POST', '/feasibility', told.question), told.answer); // and costs nothing
    assert.deepEqual((await exchange('GET', `/results/${told.question.query_id}`)).count, told.answer);
    const left = (await exchange('GET', '/feasibility')).left_millis;
    assert.equal(left, told.answer.left_millis);
  },

  async budget() {
    assert.ok((await exchange('GET', '/budget')).remaining >= 0);
  },
};

const told = {};
for (const [name, step] of Object.entries(steps)) {
  await step(told);
  console.log(name);
}
console.log(`count ${told.count}`);
