// @segment/analytics-node: ORDERS orders of 12.5 each in batches; run.py reads from the store what has arrived.
import { Analytics, FetchHTTPClient } from '@segment/analytics-node';
import { BASE, CLIENT_KEY, Tally } from './world.mjs';

const seen = [], errors = [], tally = new Tally(), orders = Number(process.env.ORDERS);
const client = (key, into) => new Analytics({ writeKey: key, host: BASE, maxRetries: 0, flushAt: 20, httpClient: new FetchHTTPClient(async (url, init) => {
  const answer = await fetch(url, init);
  into.push(answer.status);
  return answer;
}) });
const analytics = client(CLIENT_KEY, seen);
analytics.on('error', (e) => errors.push(e.code));
for (let i = 0; i < orders; i++) {
  analytics.track({ userId: `segment-node-${i % 7}`, event: 'Order Completed', properties: { order_id: `node-${i}`, revenue: 12.5, currency: 'CNY', products: [{ product_id: 'p', name: '红茶' }] } });
}
await analytics.closeAndFlush({ timeout: 20000 });
tally.check('every batch is answered 200', seen.length > 0 && seen.every((s) => s === 200), seen);
tally.check('no batch was dropped', errors.length === 0, errors);
const refused = [], stranger = client('wrong', refused);
stranger.on('error', () => {});
stranger.track({ userId: 'u', event: 'Stranger' });
await stranger.closeAndFlush({ timeout: 5000 });
tally.check('a wrong key', [401, 403].includes(refused[0]), refused);
tally.finish();
