import { mkdir, readdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AlgorithmError,
  canonicalJson,
  SequenceError,
  type StageSetting,
  selectSequences,
  sha256Hex,
} from '@s3t/algorithm';
import { DataError, type ImageDecoder } from '@s3t/data';
import { Device } from '@s3t/engine';
import {
  type Ledger,
  LedgerError,
  LedgerHeldError,
  openLedger,
  type RunRow,
  type StoredRecord,
} from '@s3t/ledger';
import {
  type BaseModel,
  type DownloadProgress,
  loadBaseModel,
  ModelError,
  OptionError,
  resolveBase,
  type StageForm,
  targetsOf,
} from '@s3t/model';
import { type LocatedConfig, parseConfig, type RunConfig, readConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { KEPT_FILE } from './row-store.ts';
import { type CheckProgress, checkPictures, placeRecords, readSplit, refuseEmptySlices } from './run-data.ts';
import { groupsOf, manifestFunction, stageSetting } from './setting.ts';
import { SignedLog } from './signed-log.ts';
import { evaluationDigest } from './stage-meter.ts';
import { logOrigin } from './statement.ts';
import { outputNames, TASKS } from './tasks.ts';

export const RUN_FILE = 'run.json';
export const KEY_FILE = 'signing-key.pem';
export const JOURNAL_FILE = 'erasures.journal';
/** Folders in the run folder that hold weights for a while: what an audit works on, and what is being restored. */
export const AUDIT_COPY = 'audit.copy';
export const RESTORING = 'restoring';

export interface OpenOptions {
  /** The run folder. */
  run: string;
  /** Path of s3t.config.json: creates the run where there is none, and must agree with the run's own otherwise. */
  config?: string;
  /** A device to share; default: one of its own. */
  device?: Device;
  /** The file of the key that signs receipts (Ed25519, PKCS #8 PEM). Default: S3T_SIGNING_KEY, or one in the run folder, made on first need. */
  signingKey?: string;
  /** What decodes image files. Default: sharp. A run is opened with the one that it was created with: other pixels would train other stages. */
  imageDecoder?: ImageDecoder;
  /** Of a run that continues texts: how many go on together, 1 to 128; the others wait. Default 8. */
  textSlots?: number;
  /** Told how far the download of a base from a hub is. */
  onDownload?: (progress: DownloadProgress) => void;
  /** Told how far the check of a fresh run's pictures is: ten thousand small ones take seconds. */
  onCheck?: (progress: CheckProgress) => void;
}

/** Everything an open run stands on. */
export interface OpenedRun {
  /** The run's own. */
  folder: string;
  device: Device;
  ownsDevice: boolean;
  ledger: Ledger;
  log: SignedLog;
  base: BaseModel;
  form: StageForm;
  located: LocatedConfig;
  run: RunRow;
  setting: StageSetting;
  textSlots: number;
  /** Why stages trained now would not be what the run's ids promise; null when they would. */
  drift: string | null;
}

/** What the ledger keeps of a configuration: enough to open the run without the file. */
export interface StoredConfig {
  config: RunConfig;
  folder: string;
}

/** Opens or creates a run. @throws UnlearnerError, always one line, with the run unharmed */
export async function openRun({
  run: folder,
  config: configFile,
  device: shared,
  signingKey,
  imageDecoder: decoder,
  textSlots = 8,
  onDownload,
  onCheck,
}: OpenOptions): Promise<OpenedRun> {
  if (!Number.isInteger(textSlots) || textSlots < 1 || textSlots > 128)
    throw new UnlearnerError('usage', `textSlots: must be a whole number in 1..128, not ${textSlots}`);
  const given = configFile === undefined ? null : { ...(await readConfig(configFile)), decoder };
  const store = await storeOf(folder).catch((error) => {
    throw translate(error);
  });
  if (!given && store === null) throw noRun(folder);
  let device = shared;
  let ledger: Ledger | null = null;
  try {
    // First, for a run that another process holds needs no device.
    if (store !== null) ledger = await openLedger({ store, folder });
    device ??= await Device.open();
    // A fresh run reads its base and data first: what is wrong with them is said before anything is written.
    const fresh = given && store === null ? await prepareRun(device, given, { onDownload, onCheck }) : null;
    ledger ??= await openLedger({ store: given!.config.store, folder });
    // Only now: a store that cannot be opened must not be the run's for good.
    if (store === null) await writeStore(folder, given!.config.store);
    const known = await ledger.run();
    const stored = known && storedConfig(known, folder);
    if (stored && given) assertSameConfig(stored.config, given, folder);
    // The same configuration from another folder: base and data were moved, and their digests show whether they are the same.
    const located =
      stored && given ? { ...given, file: stored.file } : stored ? { ...stored, decoder } : given;
    if (!located) throw noRun(folder);
    const prepared =
      fresh ??
      (known
        ? await prepareBase(device, located, onDownload, storedEvaluation(known))
        : await prepareRun(device, located, { onDownload, onCheck }));
    const run = known ?? (await createRun(ledger, prepared as PreparedRun));
    ledger.useManifest(manifestFunction({ ...run, ensemble: located.config.ensemble }));
    // A ledger that was restored from a backup learns here of the erasures after it, before anything is answered from it.
    await ledger.catchUp(join(folder, JOURNAL_FILE));
    const { base, form, setting } = prepared;
    const drift = driftOf(run, setting);
    const log = await openLog(ledger, run, folder, signingKey);
    return {
      folder,
      device,
      ownsDevice: !shared,
      ledger,
      log,
      base,
      form,
      located,
      run,
      setting,
      textSlots,
      drift,
    };
  } catch (error) {
    await ledger?.close();
    if (!shared) device?.close();
    throw translate(error);
  }
}

export function noRun(folder: string): UnlearnerError {
  return new UnlearnerError('usage', `${folder}: there is no run here; create one with a configuration file`);
}

/** The base of a run on a device, and what fixes the shapes and the identity of its stages. */
export interface PreparedBase {
  located: LocatedConfig;
  base: BaseModel;
  form: StageForm;
  setting: StageSetting;
}

/** A run that is not there yet. */
export interface PreparedRun extends PreparedBase {
  sequences: number[][];
  records: StoredRecord[];
}

/**
 * Puts the base of a configuration on a device.
 * @param evaluation the digest of the evaluation data where that decides how long stages are trained
 * @throws UnlearnerError naming file and field
 */
export async function prepareBase(
  device: Device,
  located: LocatedConfig,
  onDownload: OpenOptions['onDownload'],
  evaluation: string | null,
): Promise<PreparedBase> {
  const { config, folder, file, decoder } = located;
  const { task, data, lora } = config;
  try {
    const baseFolder = await resolveBase(config.base, { folder, onProgress: onDownload });
    const base = await loadBaseModel(device, baseFolder, {
      maxLength: data.maxLength,
      buckets: data.buckets,
      pairs: data.text?.length === 2,
      quantization: config.quantization,
      activations: config.training.activations,
    });
    const wanted = doing(TASKS[task].reads, TASKS[task].learns === 'tokens');
    const found = doing(base.reads, base.language !== undefined);
    if (found !== wanted)
      throw new OptionError(`task: ${task} takes a base that ${wanted}, but ${config.base} ${found}`);
    const form = { architecture: base.network.architecture, lora, outputs: outputNames(config).length };
    targetsOf(form.architecture, form.lora);
    groupsOf(form, config);
    return {
      located,
      base,
      form,
      setting: stageSetting(config, base, { evaluation, decoder: decoder?.name }),
    };
  } catch (error) {
    if (error instanceof OptionError)
      throw new UnlearnerError('config', `${file}: ${error.message}`, { cause: error });
    if (!(error instanceof ModelError)) throw error;
    throw new UnlearnerError('base', `${file}: base: ${error.message}`, { cause: error });
  }
}

/** What a base does, or has to do for a task. */
function doing(reads: BaseModel['reads'], continues: boolean): string {
  return continues ? 'continues texts' : `reads ${reads}s`;
}

/** Reads base and data and chooses the sequences, without writing anything. @throws UnlearnerError naming file and field */
export async function prepareRun(
  device: Device,
  located: LocatedConfig,
  { onDownload, onCheck }: Pick<OpenOptions, 'onDownload' | 'onCheck'> = {},
): Promise<PreparedRun> {
  const { slices, budget, sequences: wanted, training, data } = located.config;
  const { strategy, ...options } = wanted;
  let sequences: number[][];
  try {
    sequences = selectSequences(strategy, { slices, budget, seed: training.seed, ...options });
  } catch (error) {
    if (!(error instanceof SequenceError)) throw error;
    const { option, message } = error;
    const field = { budget: 'budget', slices: 'slices', seed: 'training.seed' }[option as string];
    const path = field ?? `sequences.${option}`;
    throw new UnlearnerError('config', `${located.file}: ${path}: ${message}`, { cause: error });
  }
  const deciding = training.earlyStopping ? await readSplit(located, 'eval') : null;
  const evaluation = deciding && evaluationDigest(deciding);
  const prepared = await prepareBase(device, located, onDownload, evaluation);
  // What is only measured with is looked at before anything is trained, too.
  const measured = deciding ?? (data.eval === undefined ? [] : await readSplit(located, 'eval'));
  const train = await readSplit(located, 'train');
  const records = placeRecords(located, train);
  refuseEmptySlices(located, train, records);
  await checkPictures(located, { train, eval: measured }, onCheck);
  return { ...prepared, sequences, records };
}

/** Where a run's ledger lies: the one thing that must be known before the ledger can be read. */
export async function storeOf(folder: string): Promise<string | null> {
  const file = join(folder, RUN_FILE);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const { store } = JSON.parse(text) as { store: unknown };
    if (typeof store === 'string') return store;
  } catch {}
  throw new UnlearnerError('corrupt', `${file}: is not what this program wrote`);
}

export async function writeStore(folder: string, store: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, RUN_FILE);
  await writeFile(`${file}.part`, `${JSON.stringify({ format: 's3t-run-1', store })}\n`, { flush: true });
  await rename(`${file}.part`, file);
}

async function createRun(
  ledger: Ledger,
  { located, base, setting, sequences, records }: PreparedRun,
): Promise<RunRow> {
  const { config, folder } = located;
  const { shards, slices } = config;
  const canonical = canonicalJson(setting);
  const settingDigest = sha256Hex(canonical);
  const stored: StoredConfig = { config, folder };
  return ledger.createRun({
    config: stored,
    setting: canonical,
    shards,
    slices,
    sequences,
    base: base.digest,
    records,
    manifest: manifestFunction({
      ...{ base: base.digest, settingDigest, sequences, shards },
      ensemble: config.ensemble,
    }),
  });
}

/** A key that was named is looked at now: a wrong one must not be found out by the first auditor. */
export async function openLog(
  ledger: Ledger,
  run: RunRow,
  folder: string,
  given: string | undefined,
): Promise<SignedLog> {
  const named = given ?? process.env.S3T_SIGNING_KEY;
  if (ledger.lock !== null) await sweep(folder);
  const log = new SignedLog(ledger, logOrigin(run), named ?? join(folder, KEY_FILE), named === undefined);
  if (named !== undefined) await log.publicKey();
  return log;
}

/**
 * Removes what a crash left of a key that was being made, and of a file for kept activations that still had its name: only whoever holds
 * the run's lock makes them.
 */
async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if ((name.startsWith(`${KEY_FILE}.`) && name.endsWith('.tmp')) || KEPT_FILE.test(name))
      await unlink(join(folder, name));
}

/** Removes what a kill left of an audit or a restoration. Only whoever holds the run's lock does, and before it acknowledges any erasure. */
export async function sweepCopies(folder: string): Promise<void> {
  for (const name of [AUDIT_COPY, RESTORING]) await rm(join(folder, name), { recursive: true, force: true });
}

export function storedConfig(run: RunRow, folder: string): LocatedConfig {
  const stored = run.config as StoredConfig;
  return { config: parseConfig(stored.config, folder), folder: stored.folder, file: folder };
}

/** The digest of the evaluation data that a run's stages were trained by: whether it is still so matters when one is trained. */
function storedEvaluation({ setting }: RunRow): string | null {
  const { data } = JSON.parse(setting) as { data?: { eval: string } };
  return data?.eval ?? null;
}

/** Names the first field in which a configuration file differs from the run's own. */
function assertSameConfig(own: RunConfig, { config, file }: LocatedConfig, folder: string): void {
  const [left, right] = [flatten(own), flatten({ ...config, repair: own.repair })];
  // Where activations are kept, what is trained in one batch and when to repair is no part of what a run is.
  for (const fields of [left, right])
    for (const field of ['training.keep.where', 'training.keep.bytes', 'training.together'])
      fields.delete(field);
  for (const field of new Set([...left.keys(), ...right.keys()]))
    if (left.get(field) !== right.get(field)) {
      const [now, then] = [right.get(field) ?? 'missing', left.get(field) ?? 'nothing'];
      // A store may hold a password.
      const problem =
        field === 'store'
          ? `is not the one that the run in ${folder} was created with`
          : `is ${now}, but the run in ${folder} was created with ${then}`;
      throw new UnlearnerError('config', `${file}: ${field}: ${problem}; use another run folder`);
    }
}

function flatten(value: unknown, path = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return new Map([[path, JSON.stringify(value)]]);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return new Map(fields.flatMap(([name, field]) => [...flatten(field, path ? `${path}.${name}` : name)]));
}

/** What of a run's setting is no longer so: another base or other kernels would give other bytes under its ids. */
function driftOf(run: RunRow, setting: StageSetting): string | null {
  const then = flatten(JSON.parse(run.setting));
  const now = flatten(setting);
  const changed = [...now].filter(([field, value]) => then.get(field) !== value).map(([field]) => field);
  return changed.length === 0 ? null : changed.join(', ');
}

/** Errors of the packages below, as errors of a run. */
export function translate(error: unknown): unknown {
  if (error instanceof UnlearnerError) return error;
  const wrap = (code: UnlearnerError['code']) =>
    new UnlearnerError(code, (error as Error).message, { cause: error });
  if (error instanceof ModelError) return wrap('base');
  if (error instanceof DataError) return wrap('data');
  if (error instanceof LedgerHeldError) return wrap('held');
  if (error instanceof LedgerError) {
    const { code } = error;
    if (
      code === 'unknown-record' ||
      code === 'unknown-subject' ||
      code === 'already-erased' ||
      code === 'idempotency-conflict'
    )
      return wrap(code);
    return wrap(
      code === 'ledger-corrupt' || code === 'adapter-corrupt' || code === 'adapter-missing'
        ? 'corrupt'
        : 'store',
    );
  }
  if (error instanceof AlgorithmError) return wrap('config');
  // What the file system refuses: no permission, no space.
  if (error instanceof Error && 'syscall' in error && 'errno' in error) return wrap('store');
  return error;
}
