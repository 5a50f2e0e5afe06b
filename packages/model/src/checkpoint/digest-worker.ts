import { parentPort, workerData } from 'node:worker_threads';
import { type DigestOutcome, digestFiles } from './digest.ts';

const { folder, names } = workerData as { folder: string; names: string[] };
const outcome: DigestOutcome = await digestFiles(folder, names).then(
  (digest) => ({ digest }),
  (error: Error) => ({ refused: error.message }),
);
parentPort!.postMessage(outcome);
