import { once } from 'node:events';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ChildRun } from './child/child-run.ts';
import type { HoldRun } from './held-run.ts';
import { listenNode } from './listen-node.ts';
import { serveRun } from './serve.ts';

const run = join(tmpdir(), 's3t-serves-nothing');
/** Holds a stand-in in a process of its own. */
const hold: HoldRun = (options, onNotice) =>
  ChildRun.open(options, { entry: new URL('testing/stand-in-child.ts', import.meta.url), onNotice });

describe('serveRun', () => {
  let told: unknown[];
  let opened: number;
  const onNotice = (message: string) => told.push(message);
  const onError = (error: unknown) => told.push(error);
  beforeEach(() => {
    told = [];
    opened = 0;
  });
  const counted: HoldRun = (...args) => {
    opened++;
    return hold(...args);
  };

  describe('at a port that another has', () => {
    const other = createServer();
    afterEach(() => other.close());

    it('says so in one line before it opens the run', async () => {
      other.listen(0, '127.0.0.1');
      await once(other, 'listening');
      const { port } = other.address() as { port: number };
      await expect(serveRun({ run, port, onNotice, onError }, counted, listenNode)).rejects.toMatchObject({
        code: 'listen',
        message: `port: ${port} on 127.0.0.1 is in use; name another, or 0 for a free one`,
      });
      expect({ opened, told }).toEqual({ opened: 0, told: [] });
    });
  });

  it('takes a host that is none for wrong usage', async () => {
    // It looks like loopback, so no keys are asked for.
    const wrong = serveRun({ run, host: '127.0.0.999', onNotice, onError }, counted, listenNode);
    await expect(wrong).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(/^host: 127\.0\.0\.999 /),
    });
    expect({ opened, told }).toEqual({ opened: 0, told: [] });
  });

  it('lets go of the run in silence where it cannot listen after all', async () => {
    const failing = async (): Promise<never> => {
      // What the app asks a run when it begins is under way.
      await new Promise((resolve) => setTimeout(resolve, 1));
      throw new Error('taken meanwhile');
    };
    await expect(serveRun({ run, port: 0, onNotice, onError }, counted, failing)).rejects.toThrow(
      'taken meanwhile',
    );
    expect({ opened, told }).toEqual({ opened: 1, told: [] });
  });
});
