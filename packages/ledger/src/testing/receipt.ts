// A receipt made by hand: what a run would sign, over a log of entries that mean nothing.
import { sha256Hex } from '@s3t/algorithm';
import {
  type ErasureStatement,
  entryBytes,
  leafHash,
  MerkleTree,
  PAYLOAD_TYPE,
  PREDICATE_TYPE,
  type ReceiptFile,
  repairedStatement,
  type SigningKey,
  STATEMENT_TYPE,
  sealEnvelope,
  signCheckpoint,
  statementText,
  utf8,
} from '../log/index.ts';

/** The statement of an erasure `e1` of two records. */
export function statement(log: string): ErasureStatement {
  const digest = (text: string) => ({ sha256: sha256Hex(text) });
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'manifest of version 2', digest: digest('after') }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      ...{ log, erasure: 'e1', request: digest('request') },
      records: { count: 2, commitments: [sha256Hex('one'), sha256Hex('two')] },
      times: {
        received: '2026-01-02T03:04:05.000Z',
        ...{ acknowledged: '2026-01-02T03:04:05.040Z', destroyed: '2026-01-02T03:04:05.039Z' },
      },
      deactivated: [
        { stage: sha256Hex('stage'), weights: digest('w'), shard: 0, sequences: [0, 1], position: 0 },
      ],
      before: { version: 1, manifest: digest('before') },
      after: { version: 2, manifest: digest('after') },
      ...{ setting: digest('setting'), base: digest('base'), kernels: digest('kernels') },
      ...{ software: { name: 's3t', version: '0.1.0' }, device: { class: 'software', name: 'llvmpipe' } },
      limits: ['none to speak of'],
    },
  };
}

/** Its receipt, as entry 5 of the log that the key is of: of the acknowledgement, or once it was repaired. */
export async function receiptParts(
  key: SigningKey,
  repaired?: { at: number; served: { version: number; manifest: string } },
): Promise<Omit<ReceiptFile, 'format'>> {
  const origin = key.publicKey.name;
  const made = statement(origin);
  const body = utf8(repaired ? repairedStatement(statementText(made), repaired) : statementText(made));
  const { acknowledged, destroyed } = made.predicate.times;
  const bound = { erasure: 'e1', statement: sha256Hex(body) };
  const entry = {
    ...{ seq: 5, kind: repaired ? 'repair' : 'acknowledge', previous: sha256Hex('entry 4') },
    at: repaired?.at ?? Date.parse(acknowledged),
    payload: repaired
      ? { ...bound, served: repaired.served }
      : {
          ...{ ...bound, receipt: sha256Hex('receipt') },
          ...{ destroyedAt: Date.parse(destroyed), destroyed: [sha256Hex('w')] },
        },
  };
  const tree = new MerkleTree();
  for (let seq = 0; seq < 5; seq++) tree.append(leafHash(Uint8Array.of(seq)));
  tree.append(leafHash(entryBytes(entry)));
  return {
    publicKey: key.publicKey.text,
    envelope: await sealEnvelope(PAYLOAD_TYPE, body, key),
    entry,
    inclusion: { index: 5, size: 6, hashes: tree.inclusion(5) },
    checkpoint: await signCheckpoint({ origin, size: 6, root: tree.root() }, key),
  };
}
