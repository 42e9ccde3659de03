// As `peer`, by ioredis: one tells and another process hears, by a channel of Redis.
//
//   node peer.js hear ioredis REDIS_URL
//   node peer.js tell ioredis REDIS_URL --connections=N --seconds=S [--rate=PER_SECOND]

import { setTimeout as sleep } from 'node:timers/promises';
import Redis from 'ioredis';

const [what, , url, ...rest] = process.argv.slice(2);
const options = Object.fromEntries(rest.map((word) => word.slice(2).split('=')));
const redis = new Redis(url);
const CHANNEL = 'bench';
const END = 0;

const now = () => Number(process.hrtime.bigint() / 1000n);
const message = (at) => `{"keys":["user:123:settings","user:123:sessions"],"at":${at}}`;

function words(times) {
  times.sort((a, b) => a - b);
  const at = (part) => ((times[Math.min(Math.floor(times.length * part), times.length - 1)] ?? 0) / 1000).toFixed(3);
  return `p50=${at(0.5)} p99=${at(0.99)} p999=${at(0.999)} max=${at(1)}`;
}

function cpu(before, count) {
  const { user, system } = process.cpuUsage(before);
  return `cpu=${((user + system) / Math.max(count, 1)).toFixed(1)}`;
}

async function hear() {
  const times = [];
  let first, last, before;
  await redis.subscribe(CHANNEL);
  redis.on('message', (channel, text) => {
    const at = Number(text.slice(text.indexOf('"at":') + 5, -1));
    if (at === END) {
      const rate = times.length / Math.max((last - first) / 1e6, 1e-3);
      console.log(`heard=${times.length} skipped=0 gaps=0 rate=${rate.toFixed(0)} ${cpu(before, times.length)} ${words(times)}`);
      process.exit(0);
    }
    last = now();
    first ??= last;
    times.push(last - at);
  });
  before = process.cpuUsage();
  console.log('ready');
}

async function tell() {
  const connections = Number(options.connections);
  const pause = options.rate ? (connections / Number(options.rate)) * 1e6 : 0;
  await redis.ping();
  const before = process.cpuUsage();
  const start = now();
  const end = start + Number(options.seconds) * 1e6;
  const times = [];
  let refused = 0;
  await Promise.all(Array.from({ length: connections }, async (_, number) => {
    let due = start + (pause * number) / connections;
    for (;;) {
      let from = now();
      if (pause) {
        if (from < due) {
          await sleep((due - from) / 1000);
          from = now();
        } else from = due;
        due += pause;
      }
      if (now() >= end) return;
      if (await redis.publish(CHANNEL, message(Math.round(from))) > 0) times.push(now() - from);
      else refused += 1;
    }
  }));
  const rate = times.length / ((now() - start) / 1e6);
  await redis.publish(CHANNEL, message(END));
  console.log(`count=${times.length} rate=${rate.toFixed(0)} refused=${refused} ${words(times)} ${cpu(before, times.length)}`);
  process.exit(0);
}

await (what === 'hear' ? hear() : tell());
