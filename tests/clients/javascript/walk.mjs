// A FHIR client of others, unmodified, walks a served node: node walk.mjs, with BASE and TOKEN in the environment.
// Each step asserts what it was answered; its name is printed once it held.
import assert from 'node:assert/strict';

import { Client } from 'fhir-kit-client';

const { BASE: baseUrl, TOKEN: bearerToken, STRANGER: stranger } = process.env;
const client = new Client({ baseUrl, bearerToken });
const responseOf = (answer) => Client.httpFor(answer).response;

const refused = async (status, call) => {
  const error = await call().then(() => undefined, (thrown) => thrown);
  assert.equal(error?.response?.status, status, String(error));
  assert.equal(error.response.data.resourceType, 'OperationOutcome');
};

const everyPage = async (first) => {
  const entries = [];
  for (let page = first; page; page = await client.nextPage({ bundle: page })) entries.push(...(page.entry ?? []));
  return entries;
};

const reading = (patient, value) => ({
  resourceType: 'Observation',
  status: 'final',
  code: { coding: [{ system: 'http://loinc.org', code: '8867-4' }] },
  subject: { reference: `Patient/${patient}` },
  valueQuantity: { value, unit: '/min', system: 'http://unitsofmeasure.org', code: '/min' },
});

const steps = {
  async capabilities() {
    const statement = await client.capabilityStatement();
    assert.equal(statement.fhirVersion, '4.0.1');
    assert.ok(statement.rest[0].resource.some((one) => one.type === 'Patient'));
  },

  async search(told) {
    const patients = await client.search({ resourceType: 'Patient', searchParams: { _count: 2 } });
    assert.equal(patients.type, 'searchset');
    told.patients = (await everyPage(patients)).map((one) => one.resource.id);
    assert.equal(new Set(told.patients).size, told.patients.length);
    [told.patient] = told.patients;
    const searchParams = { patient: told.patient, _count: 3, _total: 'accurate' };
    const first = await client.resourceSearch({ resourceType: 'Observation', searchParams });
    const found = (await everyPage(first)).filter((one) => one.search.mode === 'match');
    assert.ok(found.length > 3 && found.length === first.total, `${found.length} of ${first.total}`);
    assert.ok(found.every((one) => one.resource.subject.reference === `Patient/${told.patient}`));
    const form = await client.search({
      resourceType: 'Observation', searchParams: { patient: told.patient, _summary: 'count' }, options: { postSearch: true },
    });
    assert.equal(form.total, first.total);
    await refused(400, () => client.search({ resourceType: 'Observation', searchParams: { nonsense: '1' } }));
  },

  async read(told) {
    const patient = await client.read({ resourceType: 'Patient', id: told.patient });
    assert.equal(patient.id, told.patient);
    const version = patient.meta.versionId;
    assert.deepEqual(await client.vread({ resourceType: 'Patient', id: told.patient, version }), patient);
    const resolved = await client.resolve({ reference: `Patient/${told.patient}` });
    assert.deepEqual(resolved, patient);
    await refused(404, () => client.read({ resourceType: 'Patient', id: 'nobody-of-this-name' }));
  },

  async create(told) {
    const made = await client.create({ resourceType: 'Observation', body: reading(told.patient, 61) });
    assert.equal(responseOf(made).status, 201);
    assert.equal(responseOf(made).headers.get('etag'), 'W/"1"');
    assert.ok(responseOf(made).headers.get('location').startsWith(`${baseUrl}/Observation/${made.id}`));
    told.made = made;
    const broken = { ...reading(told.patient, 61), dataAbsentReason: { text: 'no value' } };
    await refused(400, () => client.create({ resourceType: 'Observation', body: broken }));
  },

  async update(told) {
    const { id } = told.made;
    const body = { ...told.made, valueQuantity: { ...told.made.valueQuantity, value: 62 } };
    const ifMatch = (etag) => ({ options: { headers: { 'If-Match': etag } } });
    const updated = await client.update({ resourceType: 'Observation', id, body, ...ifMatch('W/"1"') });
    assert.equal(updated.meta.versionId, '2');
    assert.equal(updated.valueQuantity.value, 62);
    await refused(412, () => client.update({ resourceType: 'Observation', id, body, ...ifMatch('W/"1"') }));
    const first = await client.vread({ resourceType: 'Observation', id, version: '1' });
    assert.equal(first.valueQuantity.value, 61);
  },

  async patch(told) {
    const { id } = told.made;
    const jsonPatch = [{ op: 'replace', path: '/valueQuantity/value', value: 64 }];
    const patched = await client.patch({ resourceType: 'Observation', id, jsonPatch });
    assert.deepEqual([patched.meta.versionId, patched.valueQuantity.value], ['3', 64]);
    const broken = [{ op: 'add', path: '/dataAbsentReason', value: { text: 'no value' } }];
    await refused(400, () => client.patch({ resourceType: 'Observation', id, jsonPatch: broken }));
  },

  async compartment(told) {
    const compartment = { resourceType: 'Patient', id: told.patient };
    const inside = { resourceType: 'Observation', compartment, searchParams: { code: '8867-4' } };
    const found = await client.compartmentSearch(inside).catch((error) => error.response);
    if (found.resourceType === 'Bundle') {
      assert.ok(found.entry.some((one) => one.resource.id === told.made.id));
    } else {
      assert.deepEqual([found.status, found.data.resourceType], [404, 'OperationOutcome']); // not served, and says so
    }
  },

  async operation(told) {
    const everything = await client.operation({ name: 'everything', resourceType: 'Patient', id: told.patient, method: 'GET' });
    const ids = everything.entry.map((one) => one.resource.id);
    assert.ok(ids.includes(told.patient) && ids.includes(told.made.id));
  },

  async delete(told) {
    const { id } = told.made;
    await client.delete({ resourceType: 'Observation', id });
    await refused(410, () => client.read({ resourceType: 'Observation', id }));
    const history = await client.history({ resourceType: 'Observation', id });
    assert.deepEqual(history.entry.map((one) => one.resource?.valueQuantity.value), [undefined, 64, 62, 61]);
    assert.equal(history.entry[0].request.method, 'DELETE');
  },

  async batch(told) {
    const entry = [
      { request: { method: 'GET', url: `Patient/${told.patient}` } },
      { request: { method: 'GET', url: 'Patient/nobody-of-this-name' } },
      { request: { method: 'GET', url: `Observation?patient=${told.patient}&_count=1` } },
    ];
    const answer = await client.batch({ body: { resourceType: 'Bundle', type: 'batch', entry } });
    assert.equal(answer.type, 'batch-response');
    assert.deepEqual(answer.entry.map((one) => one.response.status.slice(0, 3)), ['200', '404', '200']);
    assert.equal(answer.entry[0].resource.id, told.patient);
  },

  async transaction(told) {
    const fullUrl = 'urn:uuid:1f4cbb9a-6c8e-4a1d-9a3e-0f3cf5a0f001';
    const entry = [
      { fullUrl, resource: reading(told.patient, 63), request: { method: 'POST', url: 'Observation' } },
      {
        resource: { ...reading(told.patient, 64), hasMember: [{ reference: fullUrl }] },
        request: { method: 'POST', url: 'Observation' },
      },
    ];
    const answer = await client.transaction({ body: { resourceType: 'Bundle', type: 'transaction', entry } });
    assert.deepEqual(answer.entry.map((one) => one.response.status.slice(0, 3)), ['201', '201']);
    const [first, second] = answer.entry.map((one) => one.response.location.split('/_history')[0].split('/').pop());
    const member = await client.read({ resourceType: 'Observation', id: second });
    assert.equal(member.hasMember[0].reference, `Observation/${first}`);
    const broken = { ...reading(told.patient, 65), dataAbsentReason: { text: 'no value' } };
    const none = { resourceType: 'Bundle', type: 'transaction', entry: [entry[0], { ...entry[1], resource: broken }] };
    const count = () => client.search({ resourceType: 'Observation', searchParams: { patient: told.patient, _summary: 'count' } });
    const before = (await count()).total;
    await refused(400, () => client.transaction({ body: none }));
    assert.equal((await count()).total, before);
  },

  async strangers() {
    await refused(401, () => new Client({ baseUrl, bearerToken: 'nonsense' }).search({ resourceType: 'Patient' }));
    await refused(403, () => new Client({ baseUrl, bearerToken: stranger }).search({ resourceType: 'Patient' }));
  },
};

const told = {};
for (const [name, step] of Object.entries(steps)) {
  await step(told).catch((error) => { throw new Error(`${name}: ${error.message}`, { cause: error }); });
  console.log(name);
}
