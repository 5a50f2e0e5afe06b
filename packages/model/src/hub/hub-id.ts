/** A model of a hub. */
export interface HubId {
  /** organisation/name */
  name: string;
  /** A branch, tag or commit. */
  revision: string;
}

/** Reads `organisation/name` or `organisation/name@revision`; null when the text is a path and nothing else. */
export function parseHubId(text: string): HubId | null {
  if (text.endsWith('.gguf')) return null;
  const [, name, revision = 'main'] = /^(\w[\w.-]*\/\w[\w.-]*)(?:@(\w[\w./-]*))?$/.exec(text) ?? [];
  if (!name || revision.split('/').some((part) => /^\.*$/.test(part))) return null;
  return { name, revision };
}
