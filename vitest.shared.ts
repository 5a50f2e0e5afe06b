import { existsSync, statfsSync } from 'node:fs';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const conditions = ['@s3t/source'];

// Temporary folders lie in memory where there is room: databases sync every write, and tests make many of them.
const MEMORY = '/dev/shm';
const WANTED_BYTES = 4 * 2 ** 30;
if (process.env.TMPDIR === undefined && existsSync(MEMORY)) {
  const { bavail, bsize } = statfsSync(MEMORY);
  if (bavail * bsize > WANTED_BYTES) process.env.TMPDIR = MEMORY;
}

/** What every package's vitest.config.ts starts from: our TypeScript sources, Node 24, one file at a time. */
export function s3tTests(test: NonNullable<ViteUserConfig['test']> = {}): ViteUserConfig {
  return defineConfig({
    resolve: { conditions },
    ssr: { resolve: { conditions, externalConditions: conditions } },
    test: {
      include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
      setupFiles: [new URL('./vitest.setup.ts', import.meta.url).pathname],
      // A worker owns a WebGPU device: separate processes, one after the other on a small machine.
      pool: 'forks',
      execArgv: [`--import=${new URL('./packages/ledger/src/loading.ts', import.meta.url).href}`],
      fileParallelism: false,
      // The files of a package share a process: PGlite's WASM is compiled, and a device opened for the first time, once instead of per file.
      isolate: false,
      // A busy machine and a cold shader cache: a kernel may take many seconds to compile.
      testTimeout: 240_000,
      hookTimeout: 240_000,
      ...test,
    },
  });
}
