// A private Redis that keeps nothing. It listens on a socket in our own directory, and is reached through the cable.

import net from 'node:net';
import { Child, within } from './child.js';

const SOCKET = 'redis.sock';
const START_MS = 10_000;
const ANSWER_MS = 5_000;
const AGAIN_MS = 1_000;
const END_MS = 5_000;

export class Redis {
  constructor(tell) {
    this.tell = tell;
    this.socket = SOCKET;
  }

  async start() {
    this.child = new Child('redis-server', 'redis-server', [
      '--port', '0', '--unixsocket', SOCKET, '--unixsocketperm', '700', '--save', '', '--appendonly', 'no',
      '--maxmemory-policy', 'noeviction',
    ]);
    await within(START_MS, this.child, this.answers(this.child));
    this.keep(this.child);
  }

  /** One that has died is started again, and is empty then. */
  async keep(child) {
    const how = await child.ended;
    if (this.stopping) return;
    this.tell(`redis-server ended (${how}); it starts again, empty`);
    await pause(AGAIN_MS);
    if (this.stopping) return;
    await this.start().catch((error) => {
      this.tell(error.message);
      this.child.signal('SIGKILL');
      this.keep(this.child);
    });
  }

  async answers(child) {
    while (child.running) {
      if (await command('PING').catch(() => undefined) === '+PONG') return;
      await pause(50);
    }
    throw child.failed('ended before it was ready');
  }

  /** All that it knows is gone. */
  async wipe() {
    const answer = await command('FLUSHALL');
    if (answer !== '+OK') throw new Error(`redis-server refused: ${answer}`);
  }

  async stop() {
    this.stopping = true;
    await this.child?.stop(END_MS);
  }
}

/** Sends one word on a connection of its own; the first line of the answer. */
function command(word) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path: SOCKET });
    let text = '';
    socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`no answer to ${word}`)));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`no answer to ${word}`)));
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.includes('\r\n')) return;
      resolve(text.split('\r\n', 1)[0]);
      socket.destroy();
    });
    socket.write(`${word}\r\n`);
  });
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
