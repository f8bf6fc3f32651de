// Answers as the Node SDK does: for each line {"url","flags","contexts"} of standard input it fetches the features from url and writes one line, an array
// by context of arrays by flag of [variant, payload type, payload value].
const { InMemStorageProvider, Unleash } = require('unleash-client');
const lines = require('node:readline').createInterface({ input: process.stdin });

async function answer({ url, flags, contexts }) {
  const client = new Unleash({ url, appName: 'differential', refreshInterval: 3_600_000, disableMetrics: true, skipInstanceCountWarning: true, storageProvider: new InMemStorageProvider() });
  await new Promise((done, failed) => {
    client.once('synchronized', done);
    client.once('error', failed);
    setTimeout(() => failed(new Error('no features after ten seconds')), 10_000).unref();
  });
  const out = contexts.map((context) => flags.map((flag) => {
    const v = client.getVariant(flag, context);
    return [v.name, v.payload?.type ?? '', v.payload?.value ?? ''];
  }));
  client.destroy();
  return out;
}

(async () => {
  for await (const line of lines) process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  process.exit(0); // timers of the SDK may still run
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
