import { beforeAll, describe, expect, test } from 'vitest';
import { fromBase64, fromHex, toBase64, toHex, utf8 } from './bytes.ts';
import { openCheckpoint, openNote, signCheckpoint, signNote } from './checkpoint.ts';
import { openEnvelope, preAuthEncoding, sealEnvelope } from './envelope.ts';
import { generateKey, parsePublicKey, type SigningKey, signingKeyOf } from './keys.ts';
import { EMPTY_ROOT } from './merkle.ts';

let key: SigningKey;
beforeAll(async () => {
  key = await signingKeyOf('s3t/test', await generateKey());
});

describe('bytes', () => {
  test('there and back', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
    expect(fromHex(toHex(bytes), 256)).toEqual(bytes);
    expect(fromBase64(toBase64(bytes))).toEqual(bytes);
    expect(toBase64(utf8('any carnal pleas'))).toBe('YW55IGNhcm5hbCBwbGVhcw==');
  });

  test.each(['QQ', 'QR==', ' QQ==', 'QQ==\n', 'QQ=', '-_==', 'Q'])('%j is not base64', (text) => {
    expect(() => fromBase64(text)).toThrow('is not base64');
  });

  test.each(['AA', '0', '000', 'zz'])('%j is not a byte in hex', (text) => {
    expect(() => fromHex(text, 1)).toThrow('in hex');
  });
});

describe('public keys', () => {
  test('of others are read: that of sum.golang.org', async () => {
    const text = 'sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8';
    expect(await parsePublicKey(text)).toMatchObject({ name: 'sum.golang.org', id: '033de0ae', text });
  });

  test('come back from their text, and no change of it is taken', async () => {
    const { text, name, id } = key.publicKey;
    expect(await parsePublicKey(text)).toMatchObject({ text, name, id });
    for (let at = 0; at < text.length; at++)
      for (let bit = 0; bit < 7; bit++) {
        const changed =
          text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << bit)) + text.slice(at + 1);
        await expect(parsePublicKey(changed), changed).rejects.toThrow(Error);
      }
  });

  test('names that would break a line are refused', async () => {
    await expect(signingKeyOf('a b', await generateKey())).rejects.toThrow('no name of a key');
  });
});

describe('signed notes', () => {
  test('that others signed are opened: the example of golang.org/x/mod/sumdb/note', async () => {
    const neumann = await parsePublicKey(
      'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
    );
    const text =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const signature =
      'x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=';
    expect(await openNote(`${text}\n— PeterNeumann ${signature}\n`, neumann)).toBe(text);
    await expect(openNote(`${text} \n— PeterNeumann ${signature}\n`, neumann)).rejects.toThrow('signed note');
    await expect(openNote(`!${text}\n— PeterNeumann ${signature}\n`, neumann)).rejects.toThrow('signature');
  });

  test('are opened with their own key only', async () => {
    const note = await signNote('hello\n', key);
    expect(await openNote(note, key.publicKey)).toBe('hello\n');
    const other = await signingKeyOf('s3t/test', await generateKey());
    await expect(openNote(note, other.publicKey)).rejects.toThrow('is signed with another key');
    const named = await signingKeyOf('s3t/other', await generateKey());
    await expect(openNote(note, named.publicKey)).rejects.toThrow('is signed by s3t/test, not s3t/other');
  });

  test('a checkpoint: origin, size, root', async () => {
    const checkpoint = { origin: 's3t/test', size: 0, root: EMPTY_ROOT };
    const note = await signCheckpoint(checkpoint, key);
    expect(note).toMatch(
      /^s3t\/test\n0\n47DEQpj8HBSa\+\/TImW\+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— s3t\/test \S+\n$/,
    );
    expect(await openCheckpoint(note, key.publicKey)).toEqual(checkpoint);
    const others = ['s3t/other\n0\nAA==\n', 's3t/test\n00\nAA==\n', 's3t/test\n1\n'];
    for (const text of others)
      await expect(openCheckpoint(await signNote(text, key), key.publicKey)).rejects.toThrow(/is (no|of)/);
  });
});

describe('envelopes', () => {
  test('are signed over the encoding of the DSSE specification', () => {
    const encoded = preAuthEncoding('http://example.com/HelloWorld', utf8('hello world'));
    expect(new TextDecoder().decode(encoded)).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
    expect(new TextDecoder().decode(preAuthEncoding('ü', utf8('')))).toBe('DSSEv1 2 ü 0 ');
  });

  test('open with the key, and not otherwise', async () => {
    const body = utf8('{"a":1}');
    const envelope = await sealEnvelope('text/json', body, key);
    expect(await openEnvelope(envelope, 'text/json', key.publicKey)).toEqual(body);
    const [signature] = envelope.signatures;
    const wrong: [object, RegExp][] = [
      [{ payload: toBase64(utf8('{"a":2}')) }, /wrong signature/],
      [{ payloadType: 'text/jsoN' }, /wrong signature/],
      [{ payload: 'e30' }, /not base64/],
      [{ signatures: [] }, /not one signature/],
      [{ signatures: [signature, signature] }, /not one signature/],
      [{ signatures: [{ ...signature, keyid: '00000000' }] }, /signed with key 00000000/],
      [{ signatures: [{ ...signature, sig: 'AAAA' }] }, /wrong signature/],
    ];
    for (const [change, message] of wrong)
      await expect(openEnvelope({ ...envelope, ...change }, 'text/json', key.publicKey)).rejects.toThrow(
        message,
      );
    await expect(openEnvelope(envelope, 'text/other', key.publicKey)).rejects.toThrow('holds text/json');
  });
});
