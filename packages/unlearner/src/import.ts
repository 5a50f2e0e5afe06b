import { Device } from '@s3t/engine';
import {
  type DownloadProgress,
  type ImportedAdapter,
  importAdapter,
  resolveBase,
  unlessStopped,
} from '@s3t/model';
import { UnlearnerError } from './errors.ts';
import { translate } from './open-run.ts';

export interface ImportOptions {
  /** Folder in Hugging Face layout, hub id or .gguf file. */
  base: string;
  /** Folder with adapter_config.json and adapter_model.safetensors, as PEFT saves them. */
  adapter: string;
  /** A folder that is not there yet. */
  out: string;
  /** Told how far the download of a base from a hub is. */
  onDownload?: (progress: DownloadProgress) => void;
  /** Ends it early, with its reason. */
  signal?: AbortSignal;
}

/**
 * Merges a PEFT adapter that was trained elsewhere into its base. The new folder is a base for runs. What the adapter learnt from
 * has no lineage here: no erasure reaches it, like what the base was pre-trained on.
 * @throws UnlearnerError, always one line, with nothing written
 */
export async function importBase({
  base,
  adapter,
  out,
  onDownload,
  signal,
}: ImportOptions): Promise<ImportedAdapter> {
  try {
    const folder = await unlessStopped(resolveBase(base, { onProgress: onDownload }), signal);
    const device = await Device.open();
    try {
      return await importAdapter(device, folder, adapter, out, signal);
    } finally {
      device.close();
    }
  } catch (error) {
    signal?.throwIfAborted();
    if ((error as Error).name === 'OptionError')
      throw new UnlearnerError('usage', (error as Error).message, { cause: error });
    throw translate(error);
  }
}
