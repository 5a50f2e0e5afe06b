import type { Command } from './commands.ts';
import type { Storage, TextureForm } from './storage.ts';

/** Where commands go instead of the queue while a step is captured. */
export interface Recorder {
  commands: Command[];
  storages: Set<Storage>;
  textures: TextureForm[];
  /** Texture forms made by commands of the step: they hold nothing before it and are gone after it. */
  forms: Map<Storage, Map<string, TextureForm>>;
}
