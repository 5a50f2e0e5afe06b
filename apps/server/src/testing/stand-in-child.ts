// A process of its own that holds a stand-in run. Ends with its parent.
import { hostService, refuseService } from '../child/host.ts';
import { processPort } from '../child/process-port.ts';
import { RunError, StandIn } from './stand-in.ts';

const run = new StandIn({ reads: process.argv[2] === 'text' ? 'text' : 'image' });
/** Which input an answer of the first version is held back for until the erasure has happened. */
const HELD = 77;
const swapped = new Promise<void>((resolve) => run.on(({ type }) => type === 'version' && resolve()));
run.beforeAnswer = async ([input]) => {
  if (input !== undefined && 'image' in input && input.image.pixels[0] === HELD) await swapped;
};
process.once('disconnect', () => process.exit());
if (process.argv[2] === 'refuse') {
  refuseService(new RunError('run-held', 'the run is held by process 7'), processPort(process));
  process.disconnect();
} else hostService(Object.assign(run, { publishUrl: async () => {} }), processPort(process));
