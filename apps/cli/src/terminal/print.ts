/** Data, for whoever called us: stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Data for a program: one JSON document on stdout. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** What a person may want to know meanwhile: stderr. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
