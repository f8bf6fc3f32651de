// OpenFeature's web SDK with its OFREP provider: one bulk POST a context, evaluations from its cache, 304 where nothing changed.
import { OpenFeature } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { BASE, DEFAULTS, FRONTEND_KEY, METHODS, Tally, WORLD, evaluated, expected } from './world.mjs';

const seen = [], tally = new Tally();
const watched = async (input, init) => {
  const request = new Request(input, init), answer = await fetch(request);
  seen.push({ status: answer.status, sent: request.headers.get('If-None-Match'), etag: answer.headers.get('ETag') });
  return answer;
};
const context = (u) => ({ targetingKey: u.id, ...u.attributes });
await OpenFeature.setContext(context(WORLD.units[0]));
await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: BASE, headers: [['Authorization', `Bearer ${FRONTEND_KEY}`]],
  fetchImplementation: watched, cacheMode: 'disabled', pollInterval: -1 }));
const client = OpenFeature.getClient();
const compare = (u) => {
  for (const e of WORLD.experiments) {
    const d = client[METHODS[e.kind]](e.key, DEFAULTS[e.kind]), want = expected(e, u);
    tally.check(`${e.key} of ${u.id}, want ${want}`, evaluated(e, want, d), d);
  }
};
for (const [i, u] of WORLD.units.entries()) {
  if (i) await OpenFeature.setContext(context(u));
  compare(u);
}
tally.check('one answer of 200 with an ETag a unit', seen.length === WORLD.units.length && seen.every((s) => s.status === 200 && s.etag), seen.slice(0, 3));
const last = WORLD.units.at(-1);
await OpenFeature.setContext({ ...context(last) });
tally.check('the same context again is a 304', seen.at(-1).sent && seen.at(-1).status === 304, seen.at(-1));
compare(last);
// The same unit with other attributes is another question, though the SDK sends its old ETag.
const rich = WORLD.units.find((u) => expected(WORLD.experiments.find((e) => e.key === 'targeted'), u));
for (const u of [rich, { id: rich.id, attributes: {} }, rich]) {
  await OpenFeature.setContext(context(u));
  compare(u);
}
const origin = { Origin: 'https://shop.example' };
const door = `${BASE}/ofrep/v1/evaluate/flags`;
const asked = await fetch(door, { method: 'OPTIONS', headers: { ...origin, 'Access-Control-Request-Method': 'POST',
  'Access-Control-Request-Headers': 'authorization,content-type,if-none-match' } });
const allowed = (asked.headers.get('Access-Control-Allow-Headers') ?? '').toLowerCase();
tally.check('a preflight', asked.ok && ['authorization', 'content-type', 'if-none-match'].every((h) => allowed.includes(h)), [asked.status, allowed]);
const answer = await fetch(door, { method: 'POST', body: JSON.stringify({ context: { targetingKey: 'u' } }),
  headers: { ...origin, 'Content-Type': 'application/json', Authorization: `Bearer ${FRONTEND_KEY}` } });
const exposed = (answer.headers.get('Access-Control-Expose-Headers') ?? '').toLowerCase();
tally.check('a page may read ETag and Retry-After', answer.headers.get('Access-Control-Allow-Origin') && exposed.includes('etag') && exposed.includes('retry-after'), exposed);
tally.finish();
