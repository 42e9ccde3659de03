// The cable between the sidecars and Redis, so that it can be cut. Through a cut cable nothing comes and nothing is
// refused: who sends is not told. What was on its way arrives when the cable is whole again, however late.

import net from 'node:net';

const MAX_CONNECTIONS = 1_024;

export class Cable {
  constructor(to) {
    this.to = to;
    this.sockets = new Set();
    this.server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (near) => this.join(near));
    this.server.maxConnections = MAX_CONNECTIONS;
  }

  /** On a port of its own choice. */
  listen() {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(0, '127.0.0.1', () => {
        this.port = this.server.address().port;
        resolve();
      });
    });
  }

  join(near) {
    const far = net.connect({ path: this.to, allowHalfOpen: true });
    near.setNoDelay(true);
    this.carry(near, far);
    this.carry(far, near);
  }

  carry(from, to) {
    this.sockets.add(from);
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => { if (!this.isCut) from.resume(); });
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.sockets.delete(from);
      to.destroy();
    });
    if (this.isCut) from.pause(); else from.resume();
  }

  get isCut() { return this.timer !== undefined; }

  /** Cuts it, or keeps it cut, for so long from now. */
  cut(ms) {
    clearTimeout(this.timer);
    this.until = Date.now() + ms;
    this.timer = setTimeout(() => this.mend(), ms);
    for (const socket of this.sockets) socket.pause();
  }

  get cutForMs() { return this.isCut ? Math.max(0, this.until - Date.now()) : 0; }

  mend() {
    clearTimeout(this.timer);
    this.timer = undefined;
    for (const socket of this.sockets) socket.resume();
  }

  stop() {
    clearTimeout(this.timer);
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
