// The ledger: a steady writer and reader, who use the apps as anybody does, through the front door. Each write is
// unconditional, so that a pod without Redis may take it and answer 202; each is read back from Redis (`no-cache`).

import { performance } from 'node:perf_hooks';
import { Book } from './book.js';

const WRITE_EVERY_MS = 100;
const READ_EVERY_MS = 100;
const AUDIT_EVERY_MS = 200;
const LEADER_EVERY_MS = 40;
const ANSWER_MS = 5_000;

export class Ledger {
  constructor(port) {
    this.base = `http://127.0.0.1:${port}`;
    this.book = new Book();
    this.number = 0;
    this.stopped = false;
    this.begun = new Promise((resolve) => { this.begin = resolve; });
  }

  /** `begun` resolves with the first write that was acknowledged. */
  start() {
    const loops = [
      this.loop(WRITE_EVERY_MS, () => this.write()),
      this.loop(READ_EVERY_MS, () => this.look()),
      this.loop(AUDIT_EVERY_MS, () => this.audit(this.older())),
      this.loop(LEADER_EVERY_MS, () => this.askLeader()),
    ];
    return Promise.all(loops);
  }

  /** What is under way ends with the front door. */
  stop() {
    this.stopped = true;
  }

  async loop(everyMs, step) {
    while (!this.stopped) {
      const next = performance.now() + everyMs;
      await step();
      await new Promise((resolve) => { setTimeout(resolve, Math.max(0, next - performance.now())); });
    }
  }

  /** An answer, or status 0 where there was none: a pod died, or all of them. */
  async ask(path, options = {}) {
    try {
      const response = await fetch(this.base + path, { ...options, signal: AbortSignal.timeout(ANSWER_MS) });
      return { status: response.status, headers: response.headers, body: parsed(await response.text()) };
    } catch {
      return { status: 0, headers: new Headers(), body: undefined };
    }
  }

  async write() {
    if (this.book.wantsAnother) {
      const { status, body } = await this.ask('/api/sessions');
      if (status === 200) this.book.opened(body.sessionId);
    }
    // No session is made while Redis is away.
    const session = this.book.current;
    if (session === undefined) return;
    this.number += 1;
    const name = `w${this.number}`;
    const { status, headers, body } = await this.ask(address(session), {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ledger: { [name]: 1 } }),
    });
    if (status === 200 || status === 202) {
      this.book.acknowledged(session, name, headers.get('x-hyperpage-durability'));
      this.begin();
    } else {
      this.book.refused(status !== 0 && body?.error?.code !== 'OUTCOME_UNKNOWN');
    }
    await this.audit(session);
  }

  /** A fresh read: what is missing from it that was acknowledged before is lost. */
  async audit(session) {
    if (session === undefined) return;
    const asked = session.writes.size;
    const { status, headers, body } = await this.ask(address(session), { headers: { 'cache-control': 'no-cache' } });
    if (headers.has('x-hyperpage-stale-ms')) return;
    if (status === 200) this.book.read(session, asked, body.session.ledger ?? {});
    else if (status === 401) this.book.read(session, asked, undefined);
  }

  /** An ordinary read, as old as it says that it may be. */
  async look() {
    const session = this.book.current;
    if (session === undefined) return;
    const { headers } = await this.ask(address(session));
    const stale = headers.get('x-hyperpage-stale-ms');
    if (stale !== null) this.book.stale(Number(stale));
  }

  /** One of those that are no longer written, each in its turn. */
  older() {
    const older = this.book.sessions.slice(0, -1);
    this.turn = ((this.turn ?? 0) + 1) % (older.length || 1);
    return older[this.turn];
  }

  async askLeader() {
    const { status, body } = await this.ask('/leader');
    if (status === 200) this.book.leads(body.leaderId, body.term, performance.now());
  }
}

const address = ({ id }) => `/api/sessions?sessionId=${id}`;

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
