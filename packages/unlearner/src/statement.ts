import { readFileSync } from 'node:fs';
import type { Erased } from '@s3t/ledger';
import { type ErasureStatement, PREDICATE_TYPE, STATEMENT_TYPE } from '@s3t/ledger/log';
import type { OpenedRun } from './open-run.ts';

const VERSION: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;

/** What a receipt does not claim: it stands in each of them. */
const LIMITS = [
  'It attests a procedure: these stages were switched off and their weights zeroed on the device and unlinked on disk. Weights cannot prove absence.',
  'It holds for erasures that do not depend on what the model answered (non-adaptive).',
  'What the base model was pre-trained on is outside it, and so are copies made elsewhere: backups, answers given before, free blocks of a disk.',
  'Bit-exact equality with training without the records holds for stages trained again on the same class of device with the same kernels.',
];

/** The name of a run's log: the same as long as the run lives. */
export function logOrigin(run: { id: string }): string {
  return `s3t/${run.id}`;
}

/** What will be signed of an erasure. Of its records it holds salted commitments, of nothing else personal. */
export function statementOf(
  { run, setting, device }: Pick<OpenedRun, 'run' | 'setting' | 'device'>,
  { erasure, records, commitments, deactivated, before, after }: Erased,
  requestDigest: string,
  times: { receivedAt: number; acknowledgedAt: number; destroyedAt: number },
): ErasureStatement {
  const sha256 = (digest: string) => ({ sha256: digest });
  const served = ({ version, manifest }: Erased['after']) => ({ version, manifest: sha256(manifest) });
  const iso = (at: number) => new Date(at).toISOString();
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: `manifest of version ${after.version}`, digest: sha256(after.manifest) }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      log: logOrigin(run),
      erasure,
      request: sha256(requestDigest),
      records: { count: records, commitments },
      times: {
        received: iso(times.receivedAt),
        acknowledged: iso(times.acknowledgedAt),
        destroyed: iso(times.destroyedAt),
      },
      deactivated: deactivated.map(({ stage, weights, shard, sequences, position }) => ({
        ...{ stage, weights: sha256(weights), shard, sequences, position },
      })),
      before: served(before),
      after: served(after),
      setting: sha256(run.settingDigest),
      base: sha256(run.base),
      kernels: sha256(setting.kernels as string),
      software: { name: '@s3t/unlearner', version: VERSION },
      device: { class: device.adapterClass, name: device.adapterName },
      limits: LIMITS,
    },
  };
}
