// OpenFeature's Node server SDK with its OFREP provider: one POST an evaluation.
import { OpenFeature } from '@openfeature/server-sdk';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { BASE, CLIENT_KEY, DEFAULTS, METHODS, Tally, cases, evaluated } from './world.mjs';

const provider = (key) => new OFREPProvider({ baseUrl: BASE, headers: { Authorization: `Bearer ${key}` } });
await OpenFeature.setProviderAndWait(provider(CLIENT_KEY));
await OpenFeature.setProviderAndWait('stranger', provider('wrong'));
const client = OpenFeature.getClient(), tally = new Tally();
for (const [e, u, want] of cases()) {
  const d = await client[METHODS[e.kind]](e.key, DEFAULTS[e.kind], { targetingKey: u.id, ...u.attributes });
  tally.check(`${e.key} of ${u.id}, want ${want}`, evaluated(e, want, d), d);
}
let d = await client.getStringDetails('none', 'x', { targetingKey: 'u' });
tally.check('an unknown flag', d.errorCode === 'FLAG_NOT_FOUND' && d.value === 'x', d);
d = await client.getStringDetails('halves', 'x', {});
tally.check('no unit', d.errorCode === 'TARGETING_KEY_MISSING', d);
d = await OpenFeature.getClient('stranger').getStringDetails('halves', 'x', { targetingKey: 'u' });
tally.check('a wrong key', d.errorCode === 'GENERAL' && d.value === 'x', d);
d = await client.getStringDetails('halves', 'x', { targetingKey: 'u', when: new Date(0), list: [1, { a: 'b' }], deep: { x: { y: null } } });
tally.check('dates, lists and objects in the context', !d.errorCode, d);
tally.finish();
