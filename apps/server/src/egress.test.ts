import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Egress } from './egress.ts';
import { settle } from './testing/request.ts';

class Outgoing extends EventEmitter {
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

describe('Egress', () => {
  it('waits for no one when every answer is out', async () => {
    const egress = new Egress(10_000);
    const outgoing = new Outgoing();
    egress.track({ outgoing }, 1);
    outgoing.emit('finish');
    await settle(0);
    expect(egress.size).toBe(0);
    await egress.settle(2);
    expect(outgoing.destroyed).toBe(false);
  });

  it('waits for an older answer that is on its way, and lets it finish', async () => {
    const egress = new Egress(10_000);
    const outgoing = new Outgoing();
    egress.track({ outgoing }, 1);
    let settled = false;
    const settling = egress.settle(2).then(() => {
      settled = true;
    });
    await settle();
    expect(settled).toBe(false);
    outgoing.emit('finish');
    await settling;
    expect(outgoing.destroyed).toBe(false);
  });

  it('cuts off an older answer that does not get out, and leaves newer ones', async () => {
    const egress = new Egress(5);
    const [older, newer] = [new Outgoing(), new Outgoing()];
    egress.track({ outgoing: older }, 1);
    egress.track({ outgoing: newer }, 2);
    await egress.settle(2);
    expect(older.destroyed).toBe(true);
    expect(newer.destroyed).toBe(false);
  });

  it('does not cut off what went out while the loop was busy', async () => {
    const egress = new Egress(5);
    const outgoing = new Outgoing();
    egress.track({ outgoing }, 1);
    // From here the loop comes to its timers first, then to what its sockets tell.
    await new Promise((resolve) => setImmediate(resolve));
    const settling = egress.settle(2);
    setImmediate(() => outgoing.emit('finish'));
    for (const end = performance.now() + 10; performance.now() < end; );
    await settling;
    expect(outgoing.destroyed).toBe(false);
  });

  it('does not wait for one whose connection went away before it was there', async () => {
    const egress = new Egress(10_000);
    const outgoing = new Outgoing();
    outgoing.destroy();
    egress.track({ outgoing }, 1);
    await settle(0);
    expect(egress.size).toBe(0);
    await egress.settle(2);
  });

  it('forgets what it has cut off, though nobody says that it is closed', async () => {
    const egress = new Egress(5);
    const outgoing = Object.assign(new Outgoing(), { destroy: () => {} });
    egress.track({ outgoing }, 1);
    await egress.settle(2);
    await settle(0);
    expect(egress.size).toBe(0);
  });

  it('waits for what Deno says is completed', async () => {
    const egress = new Egress(10_000);
    const { promise, reject } = Promise.withResolvers<void>();
    egress.track({ completed: promise }, 1);
    const settling = egress.settle(2);
    reject(new Error('the client went away'));
    await settling;
  });

  it('tracks nothing where the runtime tells nothing', async () => {
    const egress = new Egress(10_000);
    egress.track(undefined, 1);
    egress.track({}, 1);
    expect(egress.size).toBe(0);
    await egress.settle(2);
  });
});
