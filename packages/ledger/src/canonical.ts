import { createHash, createHmac } from 'node:crypto';
export const sha256Hex = (x: string | Uint8Array): string => createHash('sha256').update(x).digest('hex');
export const hmacSha256Hex = (key: string, x: string): string =>
  createHmac('sha256', key).update(x).digest('hex');
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((v) => canonicalJson(v ?? null)).join()}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v)}`)
      .join()}}`;
  }
  return JSON.stringify(value);
}
