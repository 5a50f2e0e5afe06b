// The log's proofs, and what checks them: no Node, no database. Runs in a browser as it is.
export { type Bytes, utf8 } from './bytes.ts';
export { type Checkpoint, openCheckpoint, openNote, signCheckpoint, signNote } from './checkpoint.ts';
export { entryBytes, type LogEntry } from './entry.ts';
export { type Envelope, openEnvelope, preAuthEncoding, sealEnvelope } from './envelope.ts';
export { generateKey, type PublicKey, parsePublicKey, type SigningKey, signingKeyOf } from './keys.ts';
export { EMPTY_ROOT, leafHash, MerkleTree, nodeHash, verifyConsistency, verifyInclusion } from './merkle.ts';
export {
  formatReceipt,
  type ReceiptCheck,
  type ReceiptFile,
  type ReceiptVerification,
  verifyReceipt,
} from './receipt-file.ts';
export {
  type ErasureStatement,
  PAYLOAD_TYPE,
  PREDICATE_TYPE,
  repairedStatement,
  STATEMENT_TYPE,
  statementText,
} from './statement.ts';
