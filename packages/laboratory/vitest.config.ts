import { s3tTests } from '../../vitest.shared.ts';

export default s3tTests();
