// A base named by its hub id becomes a folder of a cache: <cache>/<organisation>--<name>/<commit>, with what each revision
// meant in <cache>/<organisation>--<name>/refs. A folder is there whole or not at all.

import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { oneLine } from '../checkpoint/one-line.ts';
import { exists } from '../checkpoint/open-tensors.ts';
import { ModelError } from '../errors.ts';
import { type HubId, parseHubId } from './hub-id.ts';
import { downloadVerified, type PromisedFile } from './verified-file.ts';

export interface DownloadProgress {
  file: string;
  /** Bytes of all files that are there, and of all that are wanted. */
  bytes: number;
  total: number;
}

export interface ResolveOptions {
  /** What a path is relative to. Default: the working directory. */
  folder?: string;
  /** Default: `defaultCacheDir`. */
  cacheDir?: string;
  /** Where HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are read. Default: the process's own. */
  env?: Readonly<Record<string, string | undefined>>;
  onProgress?: (progress: DownloadProgress) => void;
}

const PUBLIC_HUB = 'https://huggingface.co';
const COMMIT = /^[0-9a-f]{40,64}$/;

/** $S3T_CACHE, or s3t in the user's cache folder. */
export function defaultCacheDir(env: Readonly<Record<string, string | undefined>>): string {
  return env.S3T_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 's3t');
}

/**
 * The folder of a base: an existing path as it is, else the model of a hub, downloaded once. A revision that was downloaded
 * stays what it was then: no run changes its base because somebody pushed, and an open run needs no network.
 * @param base a path, or `organisation/name`, or `organisation/name@revision`
 * @throws ModelError, one line, when there is no such model, it may not be read, or the hub cannot be reached
 */
export async function resolveBase(base: string, options: ResolveOptions = {}): Promise<string> {
  const { folder = '.', env = process.env, onProgress = () => {} } = options;
  const path = resolve(folder, base);
  const id = parseHubId(base);
  if (!id || (await exists(path))) return path;
  const own = join(options.cacheDir ?? defaultCacheDir(env), id.name.replace('/', '--'));
  return fetchOnce(base, { type: 'model', id, path, own, wanted: wantedFiles }, env, onProgress);
}

/**
 * The folder of a part of a data set of a hub, downloaded once; an existing path as it is. As with bases, a revision stays what it was.
 * @param data a path, or `organisation/name`, or `organisation/name@revision`
 * @param part the folder that is wanted of it, with all that lies in it; its files keep their paths
 * @throws ModelError, one line, when there is no such data set or part, it may not be read, or the hub cannot be reached
 */
export async function resolveDataset(
  data: string,
  part: string,
  options: ResolveOptions = {},
): Promise<string> {
  const { folder = '.', env = process.env, onProgress = () => {} } = options;
  const path = resolve(folder, data);
  const id = parseHubId(data);
  if (!id || (await exists(path))) return path;
  const cache = options.cacheDir ?? defaultCacheDir(env);
  const own = join(cache, 'datasets', id.name.replace('/', '--'), part);
  const wanted = (listed: readonly PromisedFile[]): PromisedFile[] => {
    const found = listed.filter((file) => file.path.startsWith(`${part}/`));
    if (found.length === 0) throw new ModelError(`the data set has no folder ${part}`);
    return found;
  };
  return fetchOnce(data, { type: 'dataset', id, path, own, wanted }, env, onProgress);
}

/** What is wanted of a hub, and the folder of the cache that it goes to. */
interface Wanted {
  type: 'model' | 'dataset';
  id: HubId;
  /** The folder that was looked for first, absolute. */
  path: string;
  own: string;
  wanted: (listed: readonly PromisedFile[]) => PromisedFile[];
}

async function fetchOnce(
  base: string,
  what: Wanted,
  env: Readonly<Record<string, string | undefined>>,
  onProgress: (progress: DownloadProgress) => void,
): Promise<string> {
  const { id, path, own } = what;
  const ref = join(own, 'refs', encodeURIComponent(id.revision));
  const known = COMMIT.test(id.revision) ? id.revision : await readFile(ref, 'utf8').catch(() => null);
  if (known && COMMIT.test(known) && (await exists(join(own, known)))) return join(own, known);
  if (/^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? ''))
    throw new ModelError(
      `${base}: there is no folder ${path}, none in the cache, and HF_HUB_OFFLINE forbids to download it`,
    );
  const hubUrl = (env.HF_ENDPOINT || PUBLIC_HUB).replace(/\/+$/, '');
  try {
    const access = { hubUrl, accessToken: env.HF_TOKEN || undefined, fetch: showingTokenTo(hubUrl) };
    const commit = await download(what, access, onProgress);
    await mkdir(join(own, 'refs'), { recursive: true });
    const written = `${ref}.${randomUUID()}.part`;
    await writeFile(written, commit);
    await rename(written, ref);
    return join(own, commit);
  } catch (cause) {
    throw describe(cause, base, hubUrl, what);
  }
}

interface Access {
  hubUrl: string;
  accessToken: string | undefined;
  fetch: typeof fetch;
}

/** Shows the token to the hub alone: where it sends a reader elsewhere, to where files are kept, the address says what may be read. */
function showingTokenTo(hubUrl: string): typeof fetch {
  return (resource, options) => {
    const { origin } = new URL(resource instanceof Request ? resource.url : resource);
    if (origin === new URL(hubUrl).origin) return fetch(resource, options);
    const headers = new Headers(options?.headers);
    headers.delete('authorization');
    return fetch(resource, { ...options, headers });
  };
}

/** Downloads what is wanted of a revision. Returns its commit. */
async function download(
  { type, id: { name, revision }, own, wanted: select }: Wanted,
  access: Access,
  onProgress: (progress: DownloadProgress) => void,
): Promise<string> {
  // Only here: most bases are folders.
  const { datasetInfo, downloadFile, listFiles, modelInfo } = await import('@huggingface/hub');
  const about = { name, revision, ...access };
  const { sha: commit } =
    type === 'model'
      ? await modelInfo({ ...about, additionalFields: ['sha'] })
      : await datasetInfo({ ...about, additionalFields: ['sha'] });
  if (typeof commit !== 'string' || !COMMIT.test(commit)) throw new ModelError('the hub names no commit');
  const target = join(own, commit);
  if (await exists(target)) return commit;
  const repo = { type, name };
  const listed: PromisedFile[] = [];
  for await (const { type: kind, path, size, oid, lfs } of listFiles({
    ...{ repo, revision: commit, recursive: type === 'dataset' },
    ...access,
  }))
    if (kind === 'file')
      listed.push({ path, size, ...(lfs ? { sha256: lfs.oid } : oid ? { gitBlob: oid } : {}) });
  const wanted = select(listed);
  for (const { path } of wanted)
    if (path.split(/[\\/]/).some((name) => /^\.{0,2}$/.test(name)))
      throw new ModelError(`the hub lists a file ${oneLine(path)}, which is no path within a folder`);
  const part = `${target}.part`;
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  try {
    await mkdir(part, { recursive: true });
    for (const file of wanted) {
      const { path } = file;
      await mkdir(dirname(join(part, path)), { recursive: true });
      if (!(await exists(join(part, path)))) {
        const bytesFrom = async function* (start: number): AsyncIterable<Uint8Array> {
          const blob = await downloadFile({ repo, path, revision: commit, xet: false, ...access });
          if (!blob) throw new ModelError(`${path}: the hub lists it and has it not`);
          yield* blob.slice(start).stream() as unknown as AsyncIterable<Uint8Array>;
        };
        await downloadVerified(file, join(part, path), bytesFrom, (bytes) =>
          onProgress({ file: path, bytes: done + bytes, total }),
        );
      }
      done += file.size;
      onProgress({ file: path, bytes: done, total });
    }
    await rename(part, target);
  } catch (error) {
    // Somebody else was done first.
    if (!(await exists(target))) throw error;
    await rm(part, { recursive: true, force: true });
  }
  return commit;
}

/** Configuration and tokenizer, and the weights in one safetensors file or else in its shards. */
function wantedFiles(listed: readonly PromisedFile[]): PromisedFile[] {
  const named = (pattern: RegExp) => listed.filter(({ path }) => pattern.test(path));
  const whole = named(/^model\.safetensors$/);
  const weights = whole.length > 0 ? whole : named(/^model-\d+-of-\d+\.safetensors$/);
  if (weights.length === 0) throw new ModelError('the model has no safetensors');
  // The index of shards goes only with shards.
  const others = named(/^[\w-][\w.-]*\.(json|jinja)$/).filter(
    ({ path }) => whole.length === 0 || path !== 'model.safetensors.index.json',
  );
  return [...others, ...weights];
}

/** What went wrong, as one line that says what to do. */
function describe(cause: unknown, base: string, hubUrl: string, { type, path }: Wanted): ModelError {
  // A stream that breaks within a file throws the message alone.
  const { statusCode, message } = (typeof cause === 'string' ? { message: cause } : cause) as {
    statusCode?: number;
    message?: string;
  };
  // The hub's address may hold a password, and what fails to read it says all of it.
  const say = (problem: string) =>
    new ModelError(`${base}: ${problem.replaceAll(/\/\/[^/@\s]*@/g, '//')}`, { cause });
  if (cause instanceof ModelError) return say(cause.message);
  if (statusCode === 404)
    return say(`there is no folder ${path}, and ${hubUrl} has no such ${type} or revision (404)`);
  if (statusCode === 401 || statusCode === 403)
    return say(
      `there is no folder ${path}, and ${hubUrl} does not let it be read (${statusCode}): set HF_TOKEN to a token that may, if there is such a ${type}`,
    );
  if (/access token/.test(message ?? ''))
    return say('HF_TOKEN is not a token of the hub: those start with hf_');
  if (statusCode !== undefined) return say(`${hubUrl} answers ${statusCode}`);
  const { code, syscall } = cause as { code?: string; syscall?: string };
  if (code !== undefined && syscall !== undefined) return say(`cannot be kept in the cache (${code})`);
  return say(
    `there is no folder ${path}, and ${hubUrl} cannot be reached (${String(message).split('\n')[0]})`,
  );
}
