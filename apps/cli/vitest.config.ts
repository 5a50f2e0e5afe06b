import { s3tTests } from '../../vitest.shared.ts';

// Every test starts commands in processes of their own, each with its engine and its database.
export default s3tTests({ testTimeout: 180_000, hookTimeout: 180_000 });
