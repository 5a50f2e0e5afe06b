// DSSE: a signature over a payload and its type. https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
import { type Bytes, fromBase64, toBase64, utf8 } from './bytes.ts';
import type { PublicKey, SigningKey } from './keys.ts';

/** A JSON DSSE envelope with one signature. */
export interface Envelope {
  payloadType: string;
  /** Base64. */
  payload: string;
  signatures: { keyid: string; sig: string }[];
}

/** PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in bytes. */
export function preAuthEncoding(type: string, body: Bytes): Bytes {
  const head = utf8(`DSSEv1 ${utf8(type).length} ${type} ${body.length} `);
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

export async function sealEnvelope(payloadType: string, body: Bytes, key: SigningKey): Promise<Envelope> {
  const sig = toBase64(await key.sign(preAuthEncoding(payloadType, body)));
  return { payloadType, payload: toBase64(body), signatures: [{ keyid: key.publicKey.id, sig }] };
}

/** The payload of an envelope signed with this key and no other. @throws Error that says what is wrong */
export async function openEnvelope(envelope: Envelope, payloadType: string, key: PublicKey): Promise<Bytes> {
  const { signatures } = envelope;
  const [signature] = signatures;
  if (signature === undefined || signatures.length > 1) throw new Error('has not one signature');
  if (signature.keyid !== key.id) throw new Error(`is signed with key ${signature.keyid}, not ${key.id}`);
  const body = fromBase64(envelope.payload);
  const signed = preAuthEncoding(envelope.payloadType, body);
  if (!(await key.verify(signed, fromBase64(signature.sig)))) throw new Error('has a wrong signature');
  if (envelope.payloadType !== payloadType)
    throw new Error(`holds ${envelope.payloadType}, not ${payloadType}`);
  return body;
}
