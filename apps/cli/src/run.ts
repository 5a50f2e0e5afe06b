import { CommanderError } from 'commander';
import { explain } from './errors.ts';
import { createProgram } from './program.ts';

/** Runs one command line (without `node` and the script) and returns its exit code: 0, 1 failed, 2 usage or configuration. */
export async function run(args: readonly string[]): Promise<number> {
  process.exitCode = undefined;
  try {
    await createProgram().parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // It has printed its help, version or complaint.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const { message, exitCode } = explain(error);
    process.stderr.write(`s3t: ${message}\n`);
    if (process.env.S3T_DEBUG === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return exitCode;
  }
}
