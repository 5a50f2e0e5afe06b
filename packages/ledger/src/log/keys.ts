// Ed25519 keys by WebCrypto. A public key travels as the verifier key of C2SP signed-note: `<name>+<hash>+<base64>`, one line that says
// whose it is. https://github.com/C2SP/C2SP/blob/main/signed-note.md
import { sha256Hex } from '@s3t/algorithm';
import { type Bytes, fromBase64, fromHex, toBase64, utf8 } from './bytes.ts';

const ED25519 = 1;
const LENGTH = 32;

/** Who signed, and how to check it. */
export interface PublicKey {
  /** The signer's name: for a log, its origin. */
  name: string;
  /** 8 hex digits: what of the key's hash stands before a note's signature. */
  id: string;
  /** The key as one line. */
  text: string;
  verify(data: Bytes, signature: Bytes): Promise<boolean>;
}

export interface SigningKey {
  readonly publicKey: PublicKey;
  /** 64 bytes; the same data have the same signature (RFC 8032). */
  sign(data: Bytes): Promise<Bytes>;
}

/** A public key from its 32 bytes. */
async function publicKeyOf(name: string, raw: Bytes): Promise<PublicKey> {
  assertName(name);
  const typed = new Uint8Array([ED25519, ...raw]);
  const id = sha256Hex(new Uint8Array([...utf8(`${name}\n`), ...typed])).slice(0, 8);
  const key = await crypto.subtle.importKey('raw', raw, 'Ed25519', true, ['verify']);
  return {
    ...{ name, id, text: `${name}+${id}+${toBase64(typed)}` },
    verify: (data, signature) => crypto.subtle.verify('Ed25519', key, signature, data),
  };
}

/** Reads `<name>+<hash>+<base64>`. @throws Error that says what is wrong with it */
export async function parsePublicKey(text: string): Promise<PublicKey> {
  const [, name, id, base64] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text) ?? [];
  if (name === undefined || id === undefined || base64 === undefined)
    throw new Error('is no public key: one looks like <name>+<8 hex digits>+<base64>');
  const [type, ...raw] = fromBase64(base64);
  if (type !== ED25519 || raw.length !== LENGTH) throw new Error('is no Ed25519 key');
  const key = await publicKeyOf(name, Uint8Array.from(raw));
  if (key.id !== id) throw new Error('was changed: its hash does not fit it');
  return key;
}

/** A signing key in PKCS #8, fresh. */
export async function generateKey(): Promise<Bytes> {
  const { privateKey } = (await crypto.subtle.generateKey('Ed25519', true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair;
  return new Uint8Array(await crypto.subtle.exportKey('pkcs8', privateKey));
}

/** A signing key of this name from PKCS #8. @throws Error when it is not Ed25519 */
export async function signingKeyOf(name: string, pkcs8: Bytes): Promise<SigningKey> {
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign']);
  const { x } = await crypto.subtle.exportKey('jwk', key);
  const raw = fromBase64(`${x!.replaceAll('-', '+').replaceAll('_', '/')}=`);
  return {
    publicKey: await publicKeyOf(name, raw),
    sign: async (data) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, data)),
  };
}

/** The 4 bytes of a key's id. */
export function idBytes({ id }: PublicKey): Bytes {
  return fromHex(id, 4);
}

function assertName(name: string): void {
  if (!/^[^+\s]+$/.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a key`);
}
