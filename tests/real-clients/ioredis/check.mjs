// ioredis' Cluster: every key, a pipeline in one slot and many commands at once, a transaction, a redirect out of a
// stale map.

import { createRequire } from 'node:module';
import Redis from 'ioredis';

const version = createRequire(import.meta.url)('ioredis/package.json').version;
const KEYS = 10_000;

function value(number) {
  // CR LF, NUL and bytes that are no UTF-8: a value is bytes.
  return Buffer.concat([Buffer.from(`${number}\r\n\0`), Buffer.from([0xff]), Buffer.alloc(number % 100, 'x')]);
}

function expect(what, got, want) {
  const same = Buffer.isBuffer(want) ? Buffer.isBuffer(got) && want.equals(got)
    : JSON.stringify(got) === JSON.stringify(want);
  if (!same) throw new Error(`${what}: got ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
}

async function staleRedirect(cluster) {
  const key = 'ioredis:stale';
  await cluster.set(key, 'here');
  const slot = Number(await cluster.cluster('KEYSLOT', key));
  const owner = cluster.slots[slot][0];
  const wrong = cluster.nodes('master').map((node) => `${node.options.host}:${node.options.port}`)
    .find((name) => name !== owner);
  const [host, port] = wrong.split(':');
  const direct = new Redis({ host, port: Number(port) });
  const error = await direct.get(key).then(() => 'none', (error) => error.message);
  direct.disconnect();
  expect('redirect', error.split(' ').slice(0, 2), ['MOVED', String(slot)]);
  cluster.slots[slot] = [wrong];
  expect('value behind a redirect', await cluster.get(key), 'here');
  expect('owner after a redirect', cluster.slots[slot][0], owner);
}

async function main() {
  const [host, port] = process.argv[2].split(':');
  const cluster = new Redis.Cluster([{ host, port: Number(port) }]);
  const numbers = [...Array(KEYS).keys()];
  for (let at = 0; at < KEYS; at += 100) {
    await Promise.all(numbers.slice(at, at + 100).map((number) => cluster.set(`ioredis:${number}`, value(number))));
  }
  for (const number of numbers) {
    expect(`key ${number}`, await cluster.getBuffer(`ioredis:${number}`), value(number));
  }
  const pipeline = cluster.pipeline();
  for (let number = 0; number < 1000; number++) pipeline.set(`{ioredis}:${number}`, number);
  for (let number = 0; number < 1000; number++) pipeline.get(`{ioredis}:${number}`);
  const replies = await pipeline.exec();
  replies.slice(1000).forEach(([error, got], number) => expect('pipeline', [error, got], [null, String(number)]));
  const transaction = await cluster.multi().set('{ioredis}:a', 41).incr('{ioredis}:a').get('{ioredis}:a').exec();
  expect('transaction', transaction, [[null, 'OK'], [null, 42], [null, '42']]);
  await staleRedirect(cluster);
  cluster.disconnect();
  console.log(`ioredis ${version}: ${KEYS} keys, pipeline, transaction, redirect: ok`);
}

main().catch((error) => {
  console.error(`ioredis ${version}: ${error.message}`);
  process.exit(1);
});
