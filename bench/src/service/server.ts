/** Serves the run in argv, in this process if that says so, and tells its parent how late its event loop's timers are. Started by `start-server.ts`. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { serve } from '@s3t/server/node';
import { type FromServer, IN_PROCESS, type ToServer } from './start-server.ts';

/** Milliseconds between two looks. What the histogram holds is the time between them, so this much of it is no delay. */
const RESOLUTION = 2;

const tell = (message: FromServer) => process.send!(message);
const delays = monitorEventLoopDelay({ resolution: RESOLUTION });
const delayAt = (percentile: number) => Math.max(0, delays.percentile(percentile) / 1e6 - RESOLUTION);

const [, , run, held] = process.argv;
const serving = await serve({ run: run!, port: 0, signals: false, inProcess: held === IN_PROCESS });
process.on('message', (message: ToServer) => {
  if (message === 'watch') {
    delays.reset();
    delays.enable();
    tell({ watching: true });
  } else if (message === 'delays') {
    delays.disable();
    tell({ p50: delayAt(50), p99: delayAt(99), max: delayAt(100) });
  } else {
    void serving.close();
  }
});
tell({ url: serving.url });
await serving.closed;
process.disconnect();
