import type { Service } from './service.ts';

export interface Version {
  version: number;
  manifest: string;
}

/** The version of the run, for answers that no ensemble has computed. */
export class Current {
  readonly #service: Service;
  readonly #stop: () => void;
  #known: Version | undefined;

  constructor(service: Service) {
    this.#service = service;
    this.#stop = service.on((event) => {
      if (event.type === 'version') this.#known = { version: event.version, manifest: event.manifest };
    });
  }

  async get(): Promise<Version> {
    // Events tell of changes only; where it stands is asked once.
    if (this.#known === undefined) {
      const version = await this.#service.version();
      this.#known ??= version;
    }
    return this.#known;
  }

  close(): void {
    this.#stop();
  }
}
