import { defineConfig, type ViteUserConfig } from 'vitest/config';

const conditions = ['@s3t/source'];

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
      fileParallelism: false,
      testTimeout: 60_000,
      hookTimeout: 60_000,
      ...test,
    },
  });
}
