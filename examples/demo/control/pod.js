// A pod: a sidecar and the app beside it. When either ends so does the other, and a second later both start again,
// as new processes on new ports, as a kubelet would have it.

import { fileURLToPath } from 'node:url';
import { Child } from './child.js';

const START_MS = 20_000;
const END_MS = 8_000;
const AGAIN_MS = 1_000;
const APP = fileURLToPath(new URL('../server.js', import.meta.url));

export class Pod {
  /** `app` is environment for the app alone. */
  constructor({ name, program, redisPort, app, tell }) {
    Object.assign(this, { name, program, redisPort, app, tell, starts: 0 });
  }

  /** Resolves when it serves; from then on it is kept. */
  async start() {
    this.starts += 1;
    this.sidecar = new Child(`the sidecar of ${this.name}`, this.program, [
      '--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0', '--pod-name', this.name,
      '--redis-url', `redis://127.0.0.1:${this.redisPort}`,
    ]);
    this.address = `http://${await this.sidecar.field('listen', START_MS)}`;
    if (this.stopping) throw this.sidecar.failed('was told to end');
    this.server = new Child(this.name, process.execPath, [APP], {
      HOST: '127.0.0.1', PORT: '0', POD_NAME: this.name, HYPERPAGE_URL: this.address, ...this.app,
    });
    this.port = await this.server.field('port', START_MS);
    this.keep(this.server, this.sidecar);
  }

  get processes() { return [this.server, this.sidecar].filter((child) => child !== undefined); }

  async keep(...both) {
    await Promise.race(both.map((child) => child.ended));
    if (this.stopping) return;
    this.port = undefined;
    this.kill();
    await Promise.all(both.map((child) => child.ended));
    this.tell(`${this.name} has ended; it starts again`);
    await this.again();
  }

  async again() {
    await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
    if (this.stopping) return;
    await this.start().catch((error) => {
      if (this.stopping) return;
      this.tell(error.message);
      this.kill();
      this.again();
    });
  }

  /** As a node that loses power: nothing is finished, nothing handed over. Who has pressed the button is sent elsewhere. */
  kill() {
    this.port = undefined;
    for (const child of this.processes) child.signal('SIGKILL');
  }

  /** The app first, as Kubernetes ends a pod with a sidecar. */
  async stop() {
    this.stopping = true;
    for (const child of this.processes) await child.stop(END_MS);
  }
}
