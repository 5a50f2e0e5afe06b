import { hmacSha256Hex } from './canonical.ts';

/** What stands for an erased record once its key is gone: without the run's secret salt nobody can tell whose it was. */
export function commitmentOf(salt: string, key: string): string {
  return hmacSha256Hex(salt, `erased ${key}`);
}
