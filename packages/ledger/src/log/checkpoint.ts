// A checkpoint: the log's origin, size and root, in C2SP's tlog-checkpoint format, as a C2SP signed note.
// https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md
import { fromBase64, fromHex, toBase64, toHex, utf8 } from './bytes.ts';
import { idBytes, type PublicKey, type SigningKey } from './keys.ts';

export interface Checkpoint {
  /** The log's name. */
  origin: string;
  /** How many entries it has. */
  size: number;
  /** The Merkle root over them, hex. */
  root: string;
}

/** Signs a text that ends in a newline: the text, an empty line, `— <name> <base64 of key id and signature>`. */
export async function signNote(text: string, key: SigningKey): Promise<string> {
  const signature = await key.sign(utf8(text));
  const { name } = key.publicKey;
  return `${text}\n— ${name} ${toBase64(new Uint8Array([...idBytes(key.publicKey), ...signature]))}\n`;
}

/** The text of a note signed with this key and no other. @throws Error that says what is wrong */
export async function openNote(note: string, key: PublicKey): Promise<string> {
  const [, text, name, base64] = /^([\s\S]*\n)\n— (\S+) (\S+)\n$/.exec(note) ?? [];
  if (text === undefined || name === undefined || base64 === undefined) throw new Error('is no signed note');
  if (name !== key.name) throw new Error(`is signed by ${name}, not ${key.name}`);
  const bytes = fromBase64(base64);
  if (toHex(bytes.subarray(0, 4)) !== key.id) throw new Error('is signed with another key');
  if (!(await key.verify(utf8(text), bytes.slice(4)))) throw new Error('has a wrong signature');
  return text;
}

export function signCheckpoint({ origin, size, root }: Checkpoint, key: SigningKey): Promise<string> {
  return signNote(`${origin}\n${size}\n${toBase64(fromHex(root, 32))}\n`, key);
}

/** A checkpoint of the log that the key is of. @throws Error that says what is wrong */
export async function openCheckpoint(note: string, key: PublicKey): Promise<Checkpoint> {
  const text = await openNote(note, key);
  const [, origin, size, base64] = /^(\S+)\n(0|[1-9]\d*)\n(\S+)\n$/.exec(text) ?? [];
  if (origin === undefined || size === undefined || base64 === undefined) throw new Error('is no checkpoint');
  if (origin !== key.name) throw new Error(`is of the log ${origin}, not ${key.name}`);
  return { origin, size: Number(size), root: toHex(fromBase64(base64)) };
}
