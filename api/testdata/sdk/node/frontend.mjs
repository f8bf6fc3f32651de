// unleash-proxy-client, the browser's SDK: the server evaluates, by GET and by POST.
import { InMemoryStorageProvider, UnleashClient } from 'unleash-proxy-client';
import { BASE, FRONTEND_KEY, Tally, WORLD, expected, sleep, texts, toggled } from './world.mjs';

const tally = new Tally();
for (const usePOSTrequests of [false, true]) {
  const verb = usePOSTrequests ? 'POST' : 'GET', seen = [], trouble = [];
  const watched = async (url, init) => {
    const answer = await fetch(url, init);
    seen.push({ path: new URL(url).pathname, status: answer.status });
    return answer;
  };
  const client = new UnleashClient({ url: `${BASE}/api/frontend`, clientKey: FRONTEND_KEY, appName: 'sdk', disableRefresh: true, metricsIntervalInitial: 0,
    metricsInterval: 3600, storageProvider: new InMemoryStorageProvider(), fetch: watched, usePOSTrequests });
  client.on('error', (x) => trouble.push(x));
  for (const [i, u] of WORLD.units.entries()) {
    await client.updateContext({ userId: u.id, properties: texts(u.attributes) });
    if (!i) await client.start();
    for (const e of WORLD.experiments) {
      const want = expected(e, u), v = client.getVariant(e.key);
      tally.check(`${verb} ${e.key} of ${u.id}, want ${want}`, toggled(e, want, v), v);
    }
  }
  await client.updateToggles();
  const flags = seen.filter((s) => s.path === '/api/frontend');
  tally.check(`${verb}: the same context again is a 304`, flags.at(-1).status === 304 && flags.slice(0, -1).every((s) => s.status === 200), flags.slice(-3));
  await client.sendMetrics();
  await sleep(100);
  const metrics = seen.filter((s) => s.path.endsWith('/client/metrics'));
  tally.check(`${verb}: metrics are taken`, metrics.length > 0 && metrics.every((s) => s.status < 300), metrics);
  tally.check(`${verb}: no trouble`, trouble.length === 0, trouble.slice(0, 3));
  client.stop();
}
const asked = await fetch(`${BASE}/api/frontend`, { method: 'OPTIONS', headers: { Origin: 'https://shop.example', 'Access-Control-Request-Method': 'GET',
  'Access-Control-Request-Headers': 'authorization,content-type,if-none-match,unleash-appname,unleash-connection-id,unleash-sdk' } });
const allowed = (asked.headers.get('Access-Control-Allow-Headers') ?? '').toLowerCase();
tally.check('a preflight', asked.ok && ['if-none-match', 'unleash-appname', 'unleash-connection-id', 'unleash-sdk'].every((h) => allowed.includes(h)), [asked.status, allowed]);
tally.finish();
