// unleash-client: fetches the features and evaluates locally. Its hash reads other bytes than its sisters' outside ASCII, so only ASCII units are compared.
import { InMemStorageProvider, initialize } from 'unleash-client';
import { BASE, CLIENT_KEY, Tally, ascii, cases, sleep, stopSwitch, texts, toggled } from './world.mjs';

const trouble = [], count = { changed: 0, unchanged: 0, registered: 0, sent: 0 }, interval = 1000;
const unleash = initialize({ url: `${BASE}/api`, appName: 'sdk', refreshInterval: interval, metricsInterval: 1000, customHeaders: { Authorization: CLIENT_KEY },
  storageProvider: new InMemStorageProvider() });
for (const name of ['error', 'warn']) unleash.on(name, (x) => trouble.push(`${name}: ${x?.message ?? x}`));
for (const name of Object.keys(count)) unleash.on(name, () => count[name]++);
const tally = new Tally();
await Promise.race([new Promise((done) => unleash.once('synchronized', done)), sleep(5000)]);
for (const [e, u, want] of cases()) {
  if (!ascii(u.id)) continue;
  const v = unleash.getVariant(e.key, { userId: u.id, properties: texts(u.attributes) });
  if (e.local) tally.check(`${e.key} of ${u.id}, want ${want}`, toggled(e, want, v), v);
  else tally.check(`${e.key} stays on the server`, v.name === 'disabled', v);
}
if (process.env.SWITCH) {
  const on = () => unleash.isEnabled(process.env.SWITCH, { userId: 'u' });
  await sleep(1.5 * interval);
  tally.check('polls without a change are 304', count.changed === 1 && count.unchanged > 0, count);
  tally.check('the switch is on', on(), count);
  const stopped = await stopSwitch();
  while (on() && Date.now() - stopped < 10_000) await sleep(20);
  tally.check('a stop shows within an interval', Date.now() - stopped < interval + 500, Date.now() - stopped);
  tally.check('registered, metrics taken', count.registered === 1 && count.sent > 0, count);
}
tally.check('no trouble', trouble.length === 0, trouble.slice(0, 3));
tally.finish();
