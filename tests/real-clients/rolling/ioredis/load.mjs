// ioredis' Cluster under a steady load, one client shared by loops, nothing configured but the addresses.
//
// usage: load.mjs HOST:PORT,... OPERATIONS_A_SECOND WORKERS KEYS SEED RECORD   (see ../loads.py for what is expected)

import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { createRequire } from 'node:module';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import Redis from 'ioredis';

const NAME = 'ioredis';
const version = createRequire(import.meta.url)('ioredis/package.json').version;

// xorshift32: a chance that a seed decides.
function chanceOf(seed) {
  let state = createHash('sha256').update(seed).digest().readUInt32LE(0) || 1;
  return () => {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

async function call(cluster, kind, key, argument) {
  if (kind === 'incr') return ['ok', await cluster.incr(key)];
  if (kind === 'set') return ['ok', await cluster.set(key, argument)];
  const value = await cluster.get(key);
  return value === null ? ['nil', ''] : ['ok', value];
}

// Owns every WORKERS-th key, so that what one key should hold is known without asking another loop.
async function worker({ cluster, number, workers, interval, keys, seed, stopping, record }) {
  const chance = chanceOf(`${seed}/${number}`);
  const own = Math.floor((keys - number - 1) / workers) + 1;
  let written = 0;
  let due = performance.now() + interval * chance();
  for (;; due += interval) {
    // A timer drops fractions of a millisecond, and none must begin before it is due.
    const wait = Math.ceil(due - performance.now());
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    if (stopping.now) return;
    const draw = chance();
    const at = number + workers * Math.floor(own * chance());
    const kind = draw < 0.4 ? 'incr' : draw < 0.8 ? 'set' : 'get';
    const of = draw < 0.4 || draw >= 0.9 ? 'counter' : 'register';
    const argument = kind === 'set' ? `${number}.${written += 1}` : '';
    const key = `${NAME}:${of}:${at}`;
    const started = performance.now();
    const [status, reply] = await call(cluster, kind, key, argument)
      .catch((error) => ['error', `${error.name}: ${error.message}`.replace(/\s+/g, ' ')]);
    record(kind, key, argument, due, started, performance.now(), status, reply);
  }
}

async function main() {
  const [addresses, rate, workers, keys, seed, path] = process.argv.slice(2);
  const nodes = addresses.split(',').map((address) => address.split(':')).map(([host, port]) => ({ host, port: Number(port) }));
  const cluster = new Redis.Cluster(nodes);
  cluster.on('error', (error) => console.error(`event: ${error.message}`));
  await once(cluster, 'ready');
  const lines = createWriteStream(path);
  const micros = (at) => Math.floor((performance.timeOrigin + at) * 1000);
  const record = (kind, key, argument, due, started, ended, status, reply) => {
    lines.write([kind, key, argument, micros(due), micros(started), micros(ended), status, reply].join('\t') + '\n');
  };
  const stopping = { now: false };
  process.stdin.on('end', () => { stopping.now = true; }).resume();
  console.log(`ready ${version}`);
  const interval = 1000 * Number(workers) / Number(rate);
  await Promise.all([...Array(Number(workers)).keys()].map((number) => worker({
    cluster, number, workers: Number(workers), interval, keys: Number(keys), seed, stopping, record,
  })));
  cluster.disconnect();
  lines.end();
  await once(lines, 'finish');
}

main().catch((error) => {
  console.error(`ioredis ${version}: ${error.message}`);
  process.exit(1);
});
