import { s3tTests } from '../../vitest.shared.ts';

// No WebGPU device here, so test files may run side by side.
export default s3tTests({ globalSetup: ['./src/testing/template.ts'], fileParallelism: true, maxWorkers: 2 });
