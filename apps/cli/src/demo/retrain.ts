/**
 * The other half of the proof, in a process and a run folder of its own: the same configuration, but the erased records are gone before
 * anything is trained. Prints the run's status as JSON; the demo compares it with the run that learnt, forgot and was repaired.
 *
 *     node retrain.ts CONFIG RUN SHARDS IDS      SHARDS and IDS as JSON lists
 */
import { withRun } from '../run-access.ts';
import { printJson } from '../terminal/print.ts';
import { WorkProgress } from '../work-progress.ts';

process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.channel?.unref();

const [config, run, shards, ids] = process.argv.slice(2) as [string, string, string, string];
const status = await withRun({ run, config }, async (unlearner) => {
  await unlearner.erase(JSON.parse(ids));
  const progress = new WorkProgress('verify');
  const stop = unlearner.on(progress.show);
  await unlearner.train({ shards: JSON.parse(shards) });
  stop();
  progress.clear();
  return unlearner.status();
});
printJson(status);
process.stdout.write('', () => process.exit(0));
