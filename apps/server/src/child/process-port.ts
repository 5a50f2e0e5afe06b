import type { Port } from './protocol.ts';

/** The part of `ChildProcess`, in the parent, and of `process`, in the child, that messages pass through. */
interface Peer {
  connected: boolean;
  send?(message: unknown, callback: (error: Error | null) => void): boolean;
  on(event: 'message', listener: (message: unknown) => void): unknown;
}

/** A port to the other process. Both must have been made with `serialization: 'advanced'`, which keeps bytes and undefined. */
export function processPort(peer: Peer): Port {
  return {
    send: (message) => {
      // What is sent to a process that ends is lost. That it ended is told by its exit, not here.
      if (peer.connected) peer.send?.(message, () => {});
    },
    receive: (listener) => void peer.on('message', listener),
  };
}
