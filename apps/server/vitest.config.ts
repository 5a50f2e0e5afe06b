import { s3tTests } from '../../vitest.shared.ts';

// What is polled for takes milliseconds, but not on a machine that is busy with other things.
export default s3tTests({ expect: { poll: { timeout: 30_000 } } });
