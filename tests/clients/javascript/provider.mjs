// An OpenID provider of others, unmodified, for the tests of signing in: node provider.mjs REDIRECT_URI LOGOUT_URI TOLD_URI
// Prints its issuer once it listens. Who signs in, and by which claims, is what was posted to /test/person last; a POST
// to /test/rotate has it sign by another key from then on, one to /test/logout tell TOLD_URI that somebody signed out.
// Nobody is asked anything.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';

import Provider from 'oidc-provider';

const [redirectUri, logoutUri, toldUri] = process.argv.slice(2);
let person = { sub: 'nobody' };
let provider;
let handle;

const newKey = () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'ES384', use: 'sig' };
};

const start = (issuer) => {
  provider = new Provider(issuer, {
    clients: [{
      client_id: 'twinward',
      client_secret: 'a secret that only a test knows',
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [logoutUri],
      ...(toldUri && { backchannel_logout_uri: toldUri }),
      response_types: ['code'],
      grant_types: ['authorization_code'],
      id_token_signed_response_alg: 'ES384',
    }],
    enabledJWA: { idTokenSigningAlgValues: ['ES384'] },
    jwks: { keys: [newKey()] },
    pkce: { required: () => true },
    claims: { openid: ['sub', 'acr', 'amr'], profile: ['name', 'groups'], auth_time: null, sid: null },
    conformIdTokenClaims: false,
    acrValues: ['strong'],
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
    fetch: (url, { dispatcher, ...options }) => fetch(url, options), // its own would not call this machine
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    cookies: { keys: ['of this run'] },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ ...person, sub }) }),
  });
  handle = provider.callback();
};

const interact = async (request, answer) => {
  const { params, session } = await provider.interactionDetails(request, answer);
  if (person.refuses) {
    return provider.interactionFinished(request, answer, { error: 'access_denied' }, { mergeWithLastSubmission: false });
  }
  const accountId = session?.accountId === person.sub ? session.accountId : person.sub;
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope('openid profile');
  const grantId = await grant.save();
  const login = { accountId, acr: person.acr, amr: person.amr, remember: false };
  return provider.interactionFinished(request, answer, { login, consent: { grantId } }, { mergeWithLastSubmission: false });
};

const server = createServer(async (request, answer) => {
  try {
    if (request.url === '/test/person') {
      const pieces = [];
      for await (const piece of request) pieces.push(piece);
      person = JSON.parse(Buffer.concat(pieces).toString());
      answer.end();
    } else if (request.url === '/test/rotate') {
      start(provider.issuer);
      answer.end();
    } else if (request.url === '/test/logout') {
      const client = await provider.Client.find('twinward');
      await client.backchannelLogout(person.sub, 'a session of the provider');
      answer.end();
    } else if (request.url.startsWith('/interaction/')) {
      await interact(request, answer);
    } else {
      await handle(request, answer);
    }
  } catch (error) {
    answer.writeHead(500);
    answer.end(String(error));
  }
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
start(`http://localhost:${server.address().port}`);
console.log(provider.issuer);
