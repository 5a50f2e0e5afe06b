import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addApiKey } from './commands/api-key.ts';
import { addAudit } from './commands/audit.ts';
import { addBackup } from './commands/backup.ts';
import { addDoctor } from './commands/doctor.ts';
import { addErase } from './commands/erase.ts';
import { addErasures } from './commands/erasures.ts';
import { addEval } from './commands/eval.ts';
import { addExperiment } from './commands/experiment.ts';
import { addExport } from './commands/export.ts';
import { addImport } from './commands/import.ts';
import { addKey } from './commands/key.ts';
import { addPlan } from './commands/plan.ts';
import { addPredict } from './commands/predict.ts';
import { addPrior } from './commands/prior.ts';
import { addRepair } from './commands/repair.ts';
import { addRestore } from './commands/restore.ts';
import { addSequences } from './commands/sequences.ts';
import { addServe } from './commands/serve.ts';
import { addSimulate } from './commands/simulate.ts';
import { addStatus } from './commands/status.ts';
import { addTrain } from './commands/train.ts';
import { addVerify } from './commands/verify.ts';

/** In the order of the help. */
const COMMANDS = [
  addTrain,
  addStatus,
  addEval,
  addPredict,
  addErase,
  addErasures,
  addRepair,
  addVerify,
  addAudit,
  addExport,
  addImport,
  addBackup,
  addRestore,
  addKey,
  addApiKey,
  addServe,
  addSimulate,
  addSequences,
  addPrior,
  addPlan,
  addExperiment,
  addDoctor,
];

/** The whole command line. */
export function createProgram(): Command {
  const program = new Command('s3t')
    .description('Exact machine unlearning: fine-tune, serve, erase with proof')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'print help for a command')
    .exitOverride()
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({ outputError: (text, write) => write(complaint(text)) });
  for (const add of COMMANDS) add(program);
  return program;
}

/** Commander's complaints as ours: one line. */
function complaint(text: string): string {
  const line = text
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim();
  return `s3t: ${line}\n`;
}

function readVersion(): string {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;
}
